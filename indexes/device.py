"""A FAISS index where the work is done: on the GPU where there is one, else on the CPU."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

#: FAISS on a GPU answers at most this many neighbours a query.
GPU_MAX_K = 2048


def gpu_count() -> int:
    """CUDA devices that FAISS can use: 0 for a CPU build or a machine without one."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


@lru_cache(maxsize=1)
def _resources() -> Any:
    """One a process: each takes over a gigabyte of the device for itself."""
    return faiss.StandardGpuResources()


def flat_ip(
    vectors: NDArray[np.float32], device: Literal["auto", "cpu", "cuda"] = "auto", half: bool = False
) -> Any:
    """An inner-product index over ``vectors`` (n, D), on the GPU where asked for and there is one.

    Args:
        half: float16 on the GPU, for half the memory; no matter on a CPU.
    """
    index: Any = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    if device != "cpu" and gpu_count():
        options = faiss.GpuClonerOptions()
        options.useFloat16 = half
        index = faiss.index_cpu_to_gpu(_resources(), 0, index, options)
    return index


def is_gpu(index: Any) -> bool:
    return hasattr(index, "getDevice")
