"""ODIN's noise: a picture moved a little towards its nearest ID label, by the gradient through the image tower.

Source: Liang, Li, Srikant, "Enhancing the Reliability of Out-of-Distribution Image Detection in Neural Networks", ICLR
2018, Equation 2; code: https://github.com/facebookresearch/odin. Logits are CLIP's, cosines to the labels. The score of
the moved picture is the largest softmax at T = 10 (:mod:`neglabel.pipeline.scores.softmax`), 1,000 at CLIP's scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neglabel import UsageError

#: Gradients of a softmax at T = 10 are so small that half precision may round them to 0; only their sign counts.
_SCALE = 1024.0


@dataclass(frozen=True, eq=False)
class Noise:
    """What pictures are moved by.

    ``size``: ε, in pixel values of [0, 1]; ``labels``: (K, D) float32 unit vectors; ``temperature``: T, of cosines.
    """

    size: float
    labels: NDArray[np.float32]
    temperature: float

    @property
    def about(self) -> dict[str, Any]:
        """What embeddings of moved pictures depend on beside the model, as plain values."""
        labels = sha256(np.ascontiguousarray(self.labels, "<f4").tobytes()).hexdigest()
        return {"size": self.size, "temperature": self.temperature, "labels_sha256": labels}


def moved(pixels: torch.Tensor, unit: Callable[[torch.Tensor], torch.Tensor], noise: Noise,
          std: torch.Tensor) -> torch.Tensor:  # fmt: skip
    """x̃ = x − ε/σ · sign(−∇_x log max_k softmax(cos(h(x), e_k)/T)_k), Equation 2.

    Args:
        pixels: (n, 3, H, W), normalised by the channels' standard deviations σ.
        unit: pixels → (n, D) float32 unit vectors, differentiable.
        std: σ, (3,).
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = pixels.clone().requires_grad_(True)
        labels = torch.from_numpy(np.array(noise.labels)).to(pixels.device)
        # The pictures of a batch don't meet, so the sum's gradient is each one's own.
        best = torch.log_softmax(unit(x) @ labels.T / noise.temperature, dim=-1).amax(dim=-1).sum()
        (gradient,) = torch.autograd.grad(_SCALE * best, x)
    step = noise.size / std.to(pixels)
    return pixels + step[:, None, None] * gradient.sign()


def channel_std(preprocess: Any) -> torch.Tensor:
    """σ of the three channels that ``preprocess`` (a torchvision transform, or transformers' processor) divides by.

    Raises:
        UsageError: it doesn't say.
    """
    steps = getattr(preprocess, "transforms", [])
    found = [step.std for step in steps if getattr(step, "std", None) is not None]
    found += [getattr(getattr(preprocess, "processor", None), "image_std", None)]
    if found[0] is None:
        raise UsageError("--odin-noise: this model's preprocessing doesn't say how it normalises; leave it out")
    return torch.as_tensor(found[0], dtype=torch.float32)
