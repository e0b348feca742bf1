"""Turns a drawing into many: what one artist does to a concept and another does not.

All of it runs on a batch of straight-alpha pictures (B, 4, 64, 64) in 0..1 and returns what the
image tower takes, (B, 3, 64, 64), mean 0.5 and deviation 0.5 taken off.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def on_white(rgba: Tensor) -> Tensor:
    """Evaluation's view: flattened on white, nothing else."""
    alpha = rgba[:, 3:]
    return (rgba[:, :3] * alpha + (1 - alpha)) * 2 - 1


def uniform(count: int, low: float, high: float) -> Tensor:
    return torch.rand(count) * (high - low) + low


def chance(count: int, share: float) -> Tensor:
    return (torch.rand(count) < share).float()


def moved(rgba: Tensor, flips: Tensor) -> Tensor:
    """Random rotation, size, aspect, shear, shift and (where `flips` allows) mirroring.

    Colours are weighted by alpha before they are interpolated, or edges would take on the colour
    of what is transparent.
    """
    count = len(rgba)
    angle = uniform(count, -0.35, 0.35) * chance(count, 0.7)
    size = torch.exp(uniform(count, -0.22, 0.35))
    aspect = torch.exp(uniform(count, -0.15, 0.15))
    shear = uniform(count, -0.2, 0.2) * chance(count, 0.5)
    mirror = 1 - 2 * chance(count, 0.5) * flips
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = cos * size * aspect * mirror
    theta[:, 0, 1] = (-sin + shear) * size * aspect
    theta[:, 1, 0] = sin * size / aspect * mirror
    theta[:, 1, 1] = cos * size / aspect
    theta[:, :, 2] = torch.rand(count, 2) * 0.24 - 0.12
    flat = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], 1)
    grid = F.affine_grid(theta, list(flat.shape), align_corners=False)
    flat = F.grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return flat  # premultiplied


def recoloured(flat: Tensor) -> Tensor:
    """Hue, saturation, contrast and brightness by one random 3 x 4 colour matrix a picture."""
    count = len(flat)
    grey = torch.tensor([0.299, 0.587, 0.114])
    axis = torch.full((3,), 1 / math.sqrt(3))
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    # Hue: rotation about the grey axis; small as a rule, for a tiger is orange, any at times.
    wild = chance(count, 0.08)
    hue = uniform(count, -0.35, 0.35) * (1 - wild) + uniform(count, -3.14, 3.14) * wild
    cos, sin = torch.cos(hue)[:, None, None], torch.sin(hue)[:, None, None]
    matrix = cos * torch.eye(3) + sin * cross + (1 - cos) * torch.outer(axis, axis)
    saturation = torch.exp(uniform(count, -0.7, 0.5)) * (1 - chance(count, 0.12))
    saturation = saturation[:, None, None]
    matrix = (saturation * torch.eye(3) + (1 - saturation) * grey.expand(3, 3)) @ matrix
    contrast = torch.exp(uniform(count, -0.4, 0.35))
    shift = uniform(count, -0.15, 0.15)
    matrix = matrix * contrast[:, None, None]
    offset = 0.5 * (1 - contrast) + shift
    alpha = flat[:, 3:]
    colour = torch.einsum("bij,bjhw->bihw", matrix, flat[:, :3])
    colour = colour + offset[:, None, None, None] * alpha
    return torch.cat([torch.minimum(colour.clamp(min=0), alpha), alpha], 1)


def outlined(flat: Tensor) -> Tensor:
    """A dark or light line round the shape for some: only some artists draw one."""
    count = len(flat)
    on = chance(count, 0.15)[:, None, None, None]
    alpha = flat[:, 3:]
    ring = (F.max_pool2d(alpha, 3, 1, 1) - alpha) * on
    shade = torch.rand(count, 1, 1, 1).round() * 0.9 + 0.05
    return torch.cat([flat[:, :3] + ring * shade, alpha + ring], 1)


def augment(rgba: Tensor, flips: Tensor) -> Tensor:
    """One random view of each picture; `flips` (B,) is 0 where mirroring changes the meaning."""
    count = len(rgba)
    flat = outlined(recoloured(moved(rgba, flips)))
    alpha = flat[:, 3:]
    plain = chance(count, 0.5)[:, None, None, None]
    background = plain + (1 - plain) * torch.rand(count, 3, 1, 1)
    out = flat[:, :3] + background * (1 - alpha)
    blurred = F.avg_pool2d(F.pad(out, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = (uniform(count, -0.8, 1.0) * chance(count, 0.4))[:, None, None, None]
    out = out + amount * (blurred - out)  # below 0 it sharpens
    out = out + torch.randn_like(out) * (0.04 * chance(count, 0.3))[:, None, None, None]
    # A grey patch hides a part of some: no single detail may carry the name.
    centre = torch.rand(count, 2) * 64
    half = uniform(count, 5, 14)
    line = torch.arange(64.0)
    rows = ((line - centre[:, :1]).abs() < half[:, None]).float()
    columns = ((line - centre[:, 1:]).abs() < half[:, None]).float()
    patch = rows[:, None, :, None] * columns[:, None, None, :]
    patch = patch * chance(count, 0.3)[:, None, None, None]
    out = out * (1 - patch) + torch.rand(count, 3, 1, 1) * patch
    return out.clamp(0, 1) * 2 - 1
