"""The NegLabel score, with and without groups.

Source: Jiang et al., "Negative Label Guided OOD Detection with Pretrained Vision-Language Models", ICLR 2024,
Equation 6 and the grouping strategy of Section 3.2; the authors' code is github.com/tmlr-group/NegLabel.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError
from neglabel.pipeline.scores.block import Block, Groups
from neglabel.pipeline.scores.stable import Floats, check, log_sigmoid, logsumexp

__all__ = ["N_GROUPS", "Groups", "fused_groups", "group_negatives", "id_share", "neglabel"]

#: n_g of the paper.
N_GROUPS = 100


def neglabel(
    positive: NDArray[np.floating[Any]],
    negative: NDArray[np.floating[Any]],
    temperature: float = 0.01,
    groups: Groups | None = None,
) -> tuple[Floats, Floats]:
    r"""Share of the ID labels in a softmax over ID and negative labels; high = ID.

    Without groups (Eq. 6), with cosines a_k to the K ID labels and b_j to the M negatives, T the temperature:

        S = Σ_k exp(a_k/T) / (Σ_k exp(a_k/T) + Σ_j exp(b_j/T)) = σ(z),   z = lse_k(a_k/T) − lse_j(b_j/T)

    With groups g = 1…n_g of negatives, S is the mean of the groups' scores, S = (1/n_g) Σ_g σ(z_g).

    S rounds to 1 long before the ranking is decided, so the log-odds come with it, from sums that don't cancel:

        log S = lse_g(log σ(z_g)) − log n_g,   log(1−S) = lse_g(log σ(−z_g)) − log n_g,   logit = log S − log(1−S)

    Args:
        positive: (n, K) cosines to the ID labels, K ≥ 1.
        negative: (n, M) cosines to the negative labels.
        temperature: T > 0.
        groups: (n_g, m) indices into the M negatives (:func:`group_negatives`); None takes all in one.

    Returns:
        score (n,) in [0, 1] and logit (n,), float64. With no negatives there is no evidence: both are NaN.

    Raises:
        ValueError: K = 0, or a temperature that is not above 0.
    """
    check(positive, temperature)
    if negative.shape[1] == 0 or (groups is not None and groups.size == 0):
        return np.full(len(positive), np.nan), np.full(len(positive), np.nan)
    block = Block(positive, negative, groups)
    return id_share(block.positive_lse(temperature), block.group_lse(temperature))


def id_share(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Score and logit of :func:`neglabel` from its sums.

    Args:
        ours: (n,) lse_k(a_k/T) of the ID labels.
        theirs: (n, n_g) lse_j(b_j/T) of each group of negatives.
    """
    evidence = ours[:, None] - theirs
    if evidence.shape[1] == 1:
        z = evidence[:, 0]
        return np.exp(log_sigmoid(z)), z
    log_groups = np.log(evidence.shape[1])
    log_share = log_sigmoid(evidence)
    log_in = logsumexp(log_share) - log_groups
    # log σ(−z) = log σ(z) − z: wrong by an ulp of z at most, as the difference of the two is in any case.
    log_out = logsumexp(log_share - evidence) - log_groups
    return np.exp(log_in), log_in - log_out


def group_negatives(
    count: int,
    n_groups: int,
    order: Literal["random", "rank"] = "random",
    drop: Literal["last", "random"] = "last",
    seed: int = 0,
) -> Groups:
    """Negatives 0…count−1 (in rank order) → (n_groups, ⌊count/n_groups⌋) indices, no index twice.

    Args:
        order: ``random`` permutes with ``numpy.random.default_rng(seed)``; ``rank`` keeps consecutive ranks together.
        drop: which count mod n_groups negatives are left out. ``last``: the last (nearest to the ID labels), before
            anything is permuted, as the authors' code does. ``random``: random ones, whatever the order.

    Raises:
        UsageError: more groups than negatives.
    """
    if n_groups > count:
        raise UsageError(
            f"--groups {n_groups} (in a run file: [score] groups) is more than the {count:,} negative "
            f"label{'s there are' if count != 1 else ' there is'}; use --groups 1 to score all of them together"
        )
    size = count // n_groups
    used = size * n_groups
    generator = np.random.default_rng(seed)
    if drop == "last":
        chosen = np.arange(used) if order == "rank" else generator.permutation(used)
    else:
        chosen = generator.permutation(count)[:used]
        chosen = np.sort(chosen) if order == "rank" else chosen
    return np.asarray(chosen, dtype=np.int64).reshape(n_groups, size)


def fused_groups(groups: Groups, count: int, seed: int = 0) -> Groups:
    """``count`` random ones of the groups, for a score that is the mean over these alone (Table 16).

    Nested: with one seed, fewer groups are a part of more. The authors' code takes the first ``count − 1`` of its
    permuted groups instead (``scores[:, 0:num-1]``), one less than asked, which may be why the rows of Table 16 for
    one and two groups hardly differ.

    Args:
        groups: (n_g, m), from :func:`group_negatives`.

    Returns:
        (count, m).

    Raises:
        UsageError: fewer than 1 or more than n_g.
    """
    if not 1 <= count <= len(groups):
        raise UsageError(f"{count} fused groups of {len(groups)}; choose 1 to {len(groups)}")
    return groups[np.random.default_rng(seed).permutation(len(groups))[:count]]
