"""What a search runs on: the GPUs there are, or the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.indexes.cosines import LabelProducts
from neglabel.indexes.device import GPU_MAX_K, gpu_count
from neglabel.indexes.percentile import Device, Order, PercentileIndex
from neglabel.pipeline.store import unit


def on_gpu(
    labels: NDArray[np.floating[Any]], percentile: float, device: Device
) -> PercentileIndex | LabelProducts | None:
    """What mines on the GPUs there are, for labels (K, D) of any length; None where the CPU counts.

    The labels in every GPU, where PyTorch finds any. Where only FAISS does: its index, if it answers as many neighbours
    as the percentile needs.
    """
    if device == "cpu" or not gpu_count():
        return None
    from neglabel.indexes.counting import DeviceProducts, cuda_devices

    if devices := cuda_devices():
        return DeviceProducts(unit(labels, np.float64), percentile, devices)
    if Order.of(percentile, len(labels)).neighbours(len(labels)) > GPU_MAX_K:
        return None
    return PercentileIndex(unit(labels), percentile, device)
