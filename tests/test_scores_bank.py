"""Scores from a bank of ID features, against pytorch-ood's, scikit-learn's and plain float64 references."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.covariance import EmpiricalCovariance

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.scores import Bank, Block, compute_all, fit_all
from neglabel.pipeline.scores.gradnorm import gradnorm
from neglabel.pipeline.scores.knn import knn
from neglabel.pipeline.scores.mahalanobis import fit_mahalanobis, fit_mahalanobis_mcm
from neglabel.pipeline.scores.vim import fit_vim

CLASSES, DIMENSION = 7, 24


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def bank() -> Bank:
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(CLASSES), 60)
    centres = rng.normal(size=(CLASSES, DIMENSION))
    features = unit(centres[classes] + rng.normal(size=(len(classes), DIMENSION)) * np.linspace(0.2, 1.5, DIMENSION))
    return Bank(features.astype(np.float32), classes, 10 * unit(centres), rng.normal(size=CLASSES))


@pytest.fixture(scope="module")
def block() -> np.ndarray:
    return unit(np.random.default_rng(1).normal(size=(40, DIMENSION)) + 0.4).astype(np.float32)


def test_knn_is_the_kth_distance(bank: Bank, block: np.ndarray) -> None:
    score, logit = knn(4 * block, 2 * bank.features, 50)  # any length: features are normalised
    z, b = unit(block.astype(float)), unit(bank.features.astype(float))
    every = np.sort(np.square(z[:, None] - b[None]).sum(-1), axis=1)
    np.testing.assert_allclose(score, -every[:, 49], rtol=1e-10)
    np.testing.assert_array_equal(score, logit)
    np.testing.assert_allclose(knn(bank.features, bank.features, 1)[0], 0, atol=1e-12)
    with pytest.raises(UsageError, match="50-th nearest of 7 ID pictures"):
        fit_all(["knn"], Bank(bank.features[:7], bank.classes[:7], bank.weights))


def test_knn_of_a_bank_in_chunks(monkeypatch: pytest.MonkeyPatch, bank: Bank, block: np.ndarray) -> None:
    whole = knn(block, bank.features, 50)[0]
    monkeypatch.setattr("neglabel.pipeline.scores.knn._CHUNK", 33)
    np.testing.assert_array_equal(knn(block, bank.features, 50)[0], whole)


def test_vim_by_its_equations(bank: Bank, block: np.ndarray) -> None:
    """u, R, α and the score by singular values and least squares, not by eigenvectors and a pseudo-inverse."""
    assert bank.bias is not None
    f, w = bank.features.astype(float), np.asarray(bank.weights)
    u = np.linalg.lstsq(w, -bank.bias, rcond=None)[0]
    principal = np.linalg.svd(f - u, full_matrices=False)[2][:8]

    def residual(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.norm((x - u) - (x - u) @ principal.T @ principal, axis=1))

    alpha = (f @ w.T + bank.bias).max(1).mean() / residual(f).mean()
    logits = block.astype(float) @ w.T + bank.bias
    want = np.log(np.exp(logits).sum(1)) - alpha * residual(block.astype(float))
    np.testing.assert_allclose(fit_vim(bank, 8)(block)[0], want, rtol=1e-9)
    # A principal space as large as the features leaves no residual; half of it is taken, as pytorch-ood does.
    np.testing.assert_array_equal(fit_vim(bank)(block)[0], fit_vim(bank, DIMENSION // 2)(block)[0])


def test_mahalanobis_against_scikit_learn(bank: Bank, block: np.ndarray) -> None:
    f = bank.features.astype(float)
    means = np.stack([f[bank.classes == c].mean(0) for c in range(CLASSES)])
    precision = EmpiricalCovariance(assume_centered=True).fit(f - means[bank.classes]).precision_
    gaps = block.astype(float)[:, None] - means[None]
    want = (-0.5 * np.einsum("ncd,de,nce->nc", gaps, precision, gaps)).max(1)
    np.testing.assert_allclose(fit_mahalanobis(bank)(block)[0], want, rtol=1e-8)


def test_mahalanobis_of_few_pictures_takes_the_pseudo_inverse(bank: Bank, block: np.ndarray) -> None:
    few = Bank(bank.features[::30], bank.classes[::30], bank.weights)  # 14 pictures, 24 dimensions
    f, means = (
        few.features.astype(float),
        np.stack([few.features[i : i + 2].astype(float).mean(0) for i in range(0, 14, 2)]),
    )
    precision = EmpiricalCovariance(assume_centered=True).fit(f - means[few.classes]).precision_
    gaps = block.astype(float)[:, None] - means[None]
    want = (-0.5 * np.einsum("ncd,de,nce->nc", gaps, precision, gaps)).max(1)
    np.testing.assert_allclose(fit_mahalanobis(few)(block)[0], want, rtol=1e-6)
    with pytest.raises(NeglabelError, match="one picture for each of 7 classes"):
        fit_mahalanobis(Bank(bank.features[::60], bank.classes[::60], bank.weights))


def test_mahalanobis_of_the_mcm_authors(bank: Bank, block: np.ndarray) -> None:
    f = unit(bank.features.astype(float))
    means = unit(np.stack([f[bank.classes == c].mean(0) for c in range(CLASSES)]))
    precision = np.linalg.inv(np.cov(f.T))
    gaps = unit(block.astype(float))[:, None] - means[None]
    want = (-0.5 * np.einsum("ncd,de,nce->nc", gaps, precision, gaps)).max(1)
    np.testing.assert_allclose(fit_mahalanobis_mcm(bank)(4 * block)[0], want, rtol=1e-8)


def test_gradnorm_is_the_norm_of_the_gradient(bank: Bank, block: np.ndarray) -> None:
    """By central differences of the loss in every weight of the head."""
    logits = bank.logits(block)
    score, _ = gradnorm(logits, block)

    def loss(values: np.ndarray) -> np.ndarray:
        return np.asarray(values.shape[-1] * np.log(np.exp(values).sum(-1)) - values.sum(-1))

    for i in range(8):
        # One weight moves one logit, by the step times the feature it multiplies.
        moves = 1e-5 * np.einsum("cd,f->cfd", np.eye(CLASSES), block[i].astype(float))
        gradient = (loss(logits[i] + moves) - loss(logits[i] - moves)) / 2e-5
        assert score[i] == pytest.approx(float(np.abs(gradient).sum()), rel=1e-7)
    # Logits that are all but equal: C·p − 1 is as small as they are apart, and not lost to rounding.
    tiny = gradnorm(1e-12 * logits, block)[0] / (1e-12 * np.abs(block.astype(float)).sum(1))
    np.testing.assert_allclose(tiny, np.abs(logits - logits.mean(1, keepdims=True)).sum(1), rtol=1e-3)


def test_against_pytorch_ood(bank: Bank, block: np.ndarray) -> None:
    detectors = pytest.importorskip("pytorch_ood.detector", reason="pytorch-ood is not installed")
    import torch

    features, classes, x = (torch.tensor(v) for v in (bank.features, bank.classes, block))
    head = torch.nn.Linear(DIMENSION, CLASSES)
    head.weight.data, head.bias.data = torch.tensor(bank.weights).float(), torch.tensor(bank.bias).float()

    near = detectors.KNN(None, k=50).fit_features(features, classes).predict_features(x)
    np.testing.assert_allclose(knn(block, bank.features)[0], -np.square(near.numpy()), rtol=1e-5)

    theirs = detectors.ViM(None, d=8, w=head.weight, b=head.bias).fit_features(features, classes).predict_features(x)
    np.testing.assert_allclose(fit_vim(bank, 8)(block)[0], -theirs.numpy(), rtol=1e-4)

    # Its covariance is the sum, not the mean, plus a ridge of 1e-6.
    far = detectors.Mahalanobis(None).fit_features(features, classes).predict_features(x)
    np.testing.assert_allclose(fit_mahalanobis(bank)(block)[0], -len(features) * far.numpy(), rtol=1e-4)

    made = detectors.GradNorm(head, param_filter=lambda name: name == "weight").predict(x)
    np.testing.assert_allclose(gradnorm(bank.logits(block), block)[0], -CLASSES * made.detach().numpy(), rtol=1e-4)


def test_all_through_the_registry(bank: Bank, block: np.ndarray) -> None:
    labels = unit(np.asarray(bank.weights)).astype(np.float32)
    pictures = Block(block @ labels.T, np.empty((len(block), 0)), embeddings=block)
    names = ["knn", "vim", "mahalanobis", "mahalanobis-mcm", "gradnorm", "mcm"]
    fitted = fit_all(names, bank)
    assert list(fitted) == names[:4]
    made = compute_all(dict.fromkeys(names), pictures, fitted)
    np.testing.assert_array_equal(made["mahalanobis"][1], fit_mahalanobis(bank)(block)[1])
    np.testing.assert_array_equal(made["gradnorm"][0], gradnorm(pictures.positive.astype(float) / 0.01, block)[0])
    # High is ID: the bank's own pictures against noise.
    own = compute_all(
        dict.fromkeys(names), Block(bank.features @ labels.T, pictures.negative, embeddings=bank.features), fitted
    )
    for name in names[:4]:
        assert np.median(own[name][1]) > np.median(made[name][1]), name
    with pytest.raises(UsageError, match="needs a bank of ID pictures' features; fit it first"):
        compute_all({"knn": None}, pictures)
    with pytest.raises(UsageError, match="has no embeddings"):
        compute_all({"knn": None}, Block(pictures.positive, pictures.negative), fitted)


def test_what_is_fitted_travels_to_workers(bank: Bank, block: np.ndarray) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    fitted = fit_all(["knn", "vim", "mahalanobis", "mahalanobis-mcm"], bank)
    there = cloudpickle.loads(cloudpickle.dumps(fitted))
    for name, score in fitted.items():
        np.testing.assert_array_equal(there[name](block)[0], score(block)[0])


def test_a_bank_that_does_not_fit_together_is_refused(bank: Bank) -> None:
    f, c, w = bank.features, bank.classes, bank.weights
    cases: tuple[tuple[Callable[[], Bank], str], ...] = (
        (lambda: Bank(f[:0], c[:0], w), "no pictures"),
        (lambda: Bank(f, c[1:], w), "420 features but 419 classes"),
        (lambda: Bank(f[:, 1:], c, w), "23 dimensions, its head"),
        (lambda: Bank(f, c, w[1:]), "must lie in 0…5"),
        (lambda: Bank(np.where(f == f[3, 3], np.nan, f), c, w), "NaN or infinity"),
    )
    for made, message in cases:
        with pytest.raises(NeglabelError, match=message):
            made()
