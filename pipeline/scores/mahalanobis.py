"""Mahalanobis distance to the nearest class mean, in two versions that differ in their covariance.

Sources: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
NeurIPS 2018, Equations 1 and 2, as OpenOOD has it for the last layer (github.com/Jingkang50/OpenOOD, "mds"); Ming et
al. (MCM), NeurIPS 2022, its baseline as in github.com/deeplearning-wisc/MCM (``get_mean_prec`` with ``--normalize``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError
from neglabel.pipeline.scores.bank import Bank, Fitted, Vectors
from neglabel.pipeline.scores.logits import unbounded
from neglabel.pipeline.scores.stable import Floats


def fit_mahalanobis(bank: Bank) -> Fitted:
    """OpenOOD's: S(f) = max_c −½(f − μ_c)ᵀ Σ⁺ (f − μ_c), Σ shared and class-centred; high = ID; the logit is S.

        μ_c = mean of class c,   Σ = (1/N)·Σ_i (f_i − μ_{c(i)})(f_i − μ_{c(i)})ᵀ

    Σ⁺ is the pseudo-inverse, as scikit-learn's ``EmpiricalCovariance`` takes it: few pictures leave Σ singular.
    Classes without pictures have no mean and are passed over.
    """
    features = np.asarray(bank.features, np.float64)
    present, means, place = _means(features, bank.classes)
    centred = features - means[place]
    if not centred.any():
        raise UsageError(
            f"the bank has one picture for each of {len(present):,} classes: no spread within a class; give more"
        )
    return _nearest(means, centred.T @ centred / len(centred))


def fit_mahalanobis_mcm(bank: Bank) -> Fitted:
    """The MCM authors': unit features, class means scaled to unit length, covariance of all features around one mean.

        Σ = (1/(N − 1))·Σ_i (f_i − f̄)(f_i − f̄)ᵀ,   S(f) = max_c −½(f − μ_c)ᵀ Σ⁻¹ (f − μ_c)

    So the spread between classes counts as well. Their code inverts Σ; where it is singular that is noise, and the
    pseudo-inverse is taken here.

    Raises:
        UsageError: fewer than two pictures, or all the same.
    """
    features = _unit(bank.features)
    centred = features - features.mean(axis=0)
    if not centred.any():
        raise UsageError("the bank's pictures are all the same; a covariance needs different ones")
    nearest = _nearest(_unit(_means(features, bank.classes)[1]), centred.T @ centred / (len(features) - 1))
    return lambda block: nearest(_unit(block))


def _nearest(means: Floats, covariance: Floats) -> Fitted:
    """−½ of the squared distance to the nearest mean, by products in the whitened space."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * values.max()
    whitening = vectors[:, kept] / np.sqrt(values[kept])
    # Distances from differences of large squares would cancel, so the origin is moved among the means.
    origin = means.mean(axis=0)
    centres = (means - origin) @ whitening
    half = 0.5 * np.square(centres).sum(axis=1)

    def score(block: Vectors) -> tuple[Floats, Floats]:
        white = (np.asarray(block, np.float64) - origin) @ whitening
        return unbounded((white @ centres.T - half).max(axis=1) - 0.5 * np.square(white).sum(axis=1))

    return score


def _means(features: Floats, classes: NDArray[np.integer[Any]]) -> tuple[NDArray[Any], Floats, NDArray[np.int64]]:
    """The classes that have pictures, their (C, D) means, and each picture's row among them."""
    present, place, counts = np.unique(classes, return_inverse=True, return_counts=True)
    sums = np.zeros((len(present), features.shape[1]))
    np.add.at(sums, place, features)
    return present, sums / counts[:, None], place.astype(np.int64)


def _unit(vectors: Vectors) -> Floats:
    wide = np.asarray(vectors, np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))
