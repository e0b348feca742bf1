"""What the tests on a CUDA device share: which device, the mark, and its state before and after."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

#: ``NEGLABEL_TEST_DEVICE=cpu`` runs the same code on the CPU: that tries the tests and says nothing about a GPU.
DEVICE = os.environ.get("NEGLABEL_TEST_DEVICE", "cuda")
needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here"),
]


@pytest.fixture
def device() -> Iterator[str]:
    """Where a test works, with TF32 off as it is by default, and the device's memory given back."""
    assert not torch.backends.cuda.matmul.allow_tf32
    yield DEVICE
    if DEVICE == "cuda":
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
