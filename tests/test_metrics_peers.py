"""Metrics against torchmetrics and pytorch-ood, where they are installed."""

from __future__ import annotations

import numpy as np
import pytest

from neglabel.pipeline import metrics

# (ID, OOD) pictures, and how many distinct values there are: ties within and between the sets, or none.
CASES = [(20, 1, 0), (1, 30, 5), (40, 60, 0), (37, 61, 9), (140, 100, 3), (1000, 700, 0), (1000, 700, 60)]


def samples(inside: int, ood: int, values: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ID scores, OOD scores, and those of both as ranks in (0, 1): torchmetrics reads scores as probabilities."""
    draw = np.random.default_rng([inside, ood, values])
    a, b = draw.normal(1.0, 1.0, inside), draw.normal(0.0, 1.0, ood)
    if values:
        a, b = (np.round(x * values / 6) for x in (a, b))
    ranks = np.unique(np.concatenate([a, b]), return_inverse=True)[1].ravel()
    return a, b, (ranks + 1.0) / (ranks.max() + 2.0)


@pytest.mark.parametrize("sizes", CASES)
def test_against_torchmetrics(sizes: tuple[int, int, int]) -> None:
    peer = pytest.importorskip("torchmetrics.functional.classification", reason="torchmetrics is not installed")
    import torch

    a, b, ranks = samples(*sizes)
    shares, is_id = torch.tensor(ranks), torch.tensor([1] * len(a) + [0] * len(b))
    assert metrics.auroc(a, b) == pytest.approx(float(peer.binary_auroc(shares, is_id)), abs=1e-6)
    assert metrics.aupr(a, b) == pytest.approx(float(peer.binary_average_precision(shares, is_id)), abs=1e-6)
    theirs = float(peer.binary_average_precision(1 - shares, 1 - is_id))
    assert metrics.aupr(a, b, "ood") == pytest.approx(theirs, abs=1e-6)
    # It compares recalls in float32, where 19/20 and 0.95 may differ: a level between two of them is the same question.
    for convention, scores, positive, count in (
        ("id-positive", shares, is_id, len(a)), ("ood-positive", 1 - shares, 1 - is_id, len(b))
    ):  # fmt: skip
        level = (-(-19 * count // 20) - 0.5) / count
        specificity, _ = peer.binary_specificity_at_sensitivity(scores, positive, min_sensitivity=level)
        assert metrics.fpr95(a, b, convention) == pytest.approx(1 - float(specificity), abs=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", CASES)
def test_against_pytorch_ood(sizes: tuple[int, int, int]) -> None:
    """Its positives are OOD, its scores high for OOD; its AUPR is the trapezoid's, so it isn't compared."""
    peer = pytest.importorskip("pytorch_ood.metrics", reason="pytorch-ood is not installed")
    import torch

    a, b, _ = samples(*sizes)
    scores, classes = torch.tensor(-np.concatenate([a, b])), torch.tensor([0] * len(a) + [-1] * len(b))
    found = peer.OODMetrics().update(scores, classes).compute()
    assert metrics.auroc(a, b) == pytest.approx(float(found["AUROC"]), abs=1e-12)
    assert metrics.fpr95(a, b, "ood-positive") == pytest.approx(float(found["FPR95TPR"]), abs=1e-12)
    turned = peer.OODMetrics().update(-scores, torch.tensor([-1] * len(a) + [0] * len(b))).compute()
    assert metrics.fpr95(a, b) == pytest.approx(float(turned["FPR95TPR"]), abs=1e-12)
