"""Float32 products in PyTorch that keep all 24 bits, by any thread."""

from __future__ import annotations

from threading import Lock
from typing import Any

import torch

_LOCK = Lock()


def product(left: Any, right: Any) -> Any:
    """``left @ right`` (float32 tensors on one device) without TF32, whatever the process has asked for elsewhere."""
    matmul = torch.backends.cuda.matmul
    # The setting is the process's and is read when a product is queued, which takes microseconds.
    with _LOCK:
        before = matmul.allow_tf32
        matmul.allow_tf32 = False
        try:
            return left @ right
        finally:
            matmul.allow_tf32 = before
