"""AdaNeg, CLIPScope and TANL over a stream: their authors' steps in float64, and what cutting a stream may change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.pipeline.metrics import auroc
from neglabel.pipeline.scores import Block, Texts, compute_all, group_negatives, start_stream, tanl
from neglabel.pipeline.scores.adaneg import combined

D, K, M = 16, 4, 23


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def world(pictures: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, negatives, and pictures around some of both, so that memories fill up and are replaced."""
    rng = np.random.default_rng(seed)
    labels, negatives = unit(rng.normal(size=(K, D))), unit(rng.normal(size=(M, D)))
    centres = np.concatenate([labels, negatives[:6]])[rng.integers(0, K + 6, pictures)]
    found = unit(centres + 0.3 * rng.normal(size=(pictures, D)))
    return tuple(x.astype(np.float32) for x in (labels, negatives, found))  # type: ignore[return-value]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return np.asarray(e / e.sum())


def adaneg_by_steps(
    labels: np.ndarray, negatives: np.ndarray, pictures: np.ndarray, groups: np.ndarray, t: float
) -> tuple[list[float], int]:
    """As the authors' loop has it, with a memory of one text and ten rows of which the last stays empty, in float64;
    one picture at a time. Scores, and how often a stored picture was replaced."""
    size, replaced = 10, 0
    text = np.concatenate([labels, negatives]).astype(np.float64)
    memory = np.zeros((len(text), 1 + size, text.shape[1]))
    memory[:, 0] = text
    filled, doubt = np.ones(len(text), int), np.zeros((len(text), 1 + size))

    def share(logits: np.ndarray) -> float:
        parts = [softmax(np.concatenate([logits[:K], logits[K:][group]]))[:K].sum() for group in groups]
        return float(np.mean(parts))

    scores = []
    for picture in pictures.astype(np.float64):
        logits = text @ picture / t
        static = share(logits)
        if static > 0.75 or static < 0.25:
            p = softmax(logits[:K]) if static > 0.75 else softmax(logits[K:])
            where = int(p.argmax()) + (0 if static > 0.75 else K)
            entropy = -np.sum(p * np.log(p + 1e-300))
            if filled[where] == size:
                if (entropy < doubt[where]).any():
                    worst = int(doubt[where].argmax())
                    memory[where, worst], doubt[where, worst] = picture, entropy
                    replaced += 1
            else:
                memory[where, filled[where]], doubt[where, filled[where]] = picture, entropy
                filled[where] += 1
        proxies = memory.mean(1)
        proxies /= np.linalg.norm(proxies, axis=1, keepdims=True)
        scores.append(share(proxies @ picture / t) + 0.1 * static)
    return scores, replaced


@pytest.mark.parametrize(("n_groups", "temperature"), [(1, 0.1), (5, 0.1), (5, 0.01)])
def test_adaneg_by_its_authors_steps(n_groups: int, temperature: float) -> None:
    labels, negatives, pictures = world()
    groups = group_negatives(M, n_groups)
    want, replaced = adaneg_by_steps(labels, negatives, pictures, groups, temperature)
    score, logit = start_stream("adaneg", Texts(labels, negatives, groups), temperature)(pictures)
    np.testing.assert_allclose(score, want, rtol=1e-9)
    assert replaced > 10
    clear = (score > 1e-6) & (score < 1.1 - 1e-6)
    np.testing.assert_allclose(logit[clear], np.log(score[clear] / (1.1 - score[clear])), rtol=1e-6, atol=1e-9)
    # Its own temperature is NegLabel's, and no groups are one group.
    own = start_stream("adaneg", Texts(labels, negatives))(pictures)
    one = start_stream("adaneg", Texts(labels, negatives, np.arange(M)[None]), 0.01)(pictures)
    np.testing.assert_array_equal(own, one)


def test_adaneg_begins_as_neglabel_and_learns() -> None:
    """The first picture of a stream that stores nothing has 1.1 times its NegLabel score; OOD falls once seen."""
    labels, negatives, pictures = world()
    block = Block(pictures @ labels.T, pictures @ negatives.T)
    static = compute_all({"neglabel": 0.3}, block)["neglabel"][0]
    between = np.flatnonzero((static > 0.25) & (static < 0.75))
    score, _ = start_stream("adaneg", Texts(labels, negatives), 0.3)(pictures[between])
    np.testing.assert_allclose(score, 1.1 * static[between], rtol=1e-5)
    strange = unit(np.random.default_rng(5).normal(size=(1, D)) + negatives[:1]).astype(np.float32)
    first, again = start_stream("adaneg", Texts(labels, negatives), 0.1)(np.repeat(strange, 2, axis=0))[0]
    assert again <= first


def test_adaneg_saturates_in_no_logit() -> None:
    score, logit = combined(np.array([50.0, 60.0, -800.0, -900.0]), np.array([40.0, 45.0, -800.0, -900.0]))
    assert score[0] == score[1]
    assert logit[3] < logit[2] < logit[0] < logit[1]


def test_clipscope_by_its_authors_steps() -> None:
    labels, negatives, pictures = world()
    seen, want, texts = np.ones(K), [], np.concatenate([labels, negatives]).astype(np.float64)
    for picture in pictures.astype(np.float64):
        of_labels, of_all = softmax(100 * texts[:K] @ picture), softmax(100 * texts @ picture)
        best = int(of_labels.argmax())
        want.append(of_labels[best] * of_all[:K].sum() / (seen / seen.sum())[best])
        seen[best] += 1
    score, logit = start_stream("clipscope", Texts(labels, negatives))(pictures)
    np.testing.assert_allclose(score, want, rtol=1e-9)
    np.testing.assert_allclose(logit, np.log(want), rtol=1e-9)


def otsu(scores: np.ndarray) -> float:
    """As the authors' code finds it: every threshold tried on all scores."""
    within = []
    for threshold in np.arange(100) / 100:
        above = scores >= threshold
        some = 0 < above.sum() < len(scores)
        parts = [(part.mean(), scores[part].var()) for part in (above, ~above)] if some else [(1, np.inf)]
        within.append(sum(weight * variance for weight, variance in parts))
    least = np.flatnonzero(np.isclose(within, np.min(within), rtol=1e-9, atol=0) | (within == np.min(within)))
    return float(least[len(least) // 2]) / 100


def tanl_by_steps(
    labels: np.ndarray, negatives: np.ndarray, pictures: np.ndarray, t: float, chosen: int, queue: int, history: int
) -> tuple[list[float], list[int]]:
    """As the authors' loop has it with batches of one and texts in place of noise, in float64: scores, and how often a
    picture joined either queue."""
    texts = np.concatenate([labels, negatives]).astype(np.float64)

    def activations(x: np.ndarray) -> np.ndarray:
        return softmax(texts @ x / t)[K:]

    def score(x: np.ndarray, worth: np.ndarray) -> float:
        order = np.argsort(-worth, kind="stable")[:chosen]
        ours, theirs = np.exp(texts[:K] @ x / t), np.exp(texts[K:][order] @ x / t)
        return float(np.mean([ours.sum() / (ours.sum() + theirs[: m + 1].sum()) for m in range(len(order))]))

    def drawn(rows: np.ndarray) -> np.ndarray:
        return rows if len(rows) <= queue else np.random.default_rng(0).choice(rows, queue, replace=False)

    first = [drawn(np.arange(K)), drawn(np.arange(K, K + M))]
    inside, outside = ([activations(texts[row]) for row in rows] for rows in first)
    worth = np.mean(outside, 0) - np.mean(inside, 0)
    past, scores, joined = [score(texts[row], worth) for rows in first for row in rows], [], [0, 0]
    for x in pictures.astype(np.float64):
        mean_in, mean_out = np.mean(inside, 0), np.mean(outside, 0)
        found = score(x, mean_out - mean_in)
        past = [*past, found][-history:]
        threshold = otsu(np.array(past))
        if found > threshold + 0.5 * (1 - threshold):
            mean_in = 0.95 * mean_in + 0.05 * activations(x)
            inside, joined[0] = [*inside, activations(x)][-queue:], joined[0] + 1
        elif found < threshold - 0.5 * threshold:
            mean_out = 0.95 * mean_out + 0.05 * activations(x)
            outside, joined[1] = [*outside, activations(x)][-queue:], joined[1] + 1
        scores.append(score(x, mean_out - mean_in))
    return scores, joined


@pytest.mark.parametrize(("chosen", "queue", "history"), [(1000, 300, 20_000), (6, 15, 60)])
@pytest.mark.parametrize("temperature", [0.1, 0.03])
def test_tanl_by_its_authors_steps(
    monkeypatch: pytest.MonkeyPatch, temperature: float, chosen: int, queue: int, history: int
) -> None:
    for name, value in (("CHOSEN", chosen), ("QUEUE", queue), ("HISTORY", history)):
        monkeypatch.setattr(tanl, name, value)
    labels, negatives, pictures = world(250)
    want, joined = tanl_by_steps(labels, negatives, pictures, temperature, chosen, queue, history)
    score, logit = start_stream("tanl", Texts(labels, negatives), temperature)(pictures)
    np.testing.assert_allclose(score, want, rtol=1e-7)
    assert min(joined) > 20
    clear = (score > 1e-6) & (score < 1 - 1e-6)
    np.testing.assert_allclose(logit[clear], np.log(score[clear] / (1 - score[clear])), rtol=1e-5, atol=1e-8)


def test_otsus_threshold_does_not_know_what_it_forgot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tanl, "HISTORY", 100)
    rng = np.random.default_rng(0)
    far_apart = np.where(rng.random(200) < 0.5, rng.uniform(0, 0.1, 200), rng.uniform(0.9, 1, 200))
    scores, found = np.concatenate([rng.uniform(0.3, 0.7, 100), far_apart]), tanl._Otsu()
    for score in scores:
        found.add(score)
    assert found.threshold() == otsu(scores[-100:])


def test_tanl_learns_which_negatives_the_stream_answers_to() -> None:
    """OOD pictures around few of many negatives are told apart better than by all negatives alike."""
    rng = np.random.default_rng(3)
    labels, negatives = unit(rng.normal(size=(20, 64))), unit(rng.normal(size=(4000, 64)))
    inside, outside = (
        unit(centres[rng.integers(0, len(centres), 400)] + 0.16 * rng.normal(size=(400, 64)))
        for centres in (labels, negatives[:5])
    )
    pictures = np.concatenate([inside, outside])
    order = rng.permutation(800)
    score = np.empty(800)
    score[order] = start_stream("tanl", Texts(labels, negatives), 0.1)(pictures[order])[1]
    static = compute_all({"neglabel-ungrouped": 0.1}, Block(pictures @ labels.T, pictures @ negatives.T))
    ours, plain = (auroc(x[:400], x[400:]) for x in (score, static["neglabel-ungrouped"][1]))
    assert ours > plain


@settings(max_examples=8)
@given(cuts=st.lists(st.integers(0, 400), max_size=12), seed=st.integers(0, 3))
@pytest.mark.parametrize("name", ["adaneg", "clipscope", "tanl"])
def test_where_a_stream_is_cut_changes_nothing(name: str, cuts: list[int], seed: int) -> None:
    labels, negatives, pictures = world(seed=seed)
    texts = Texts(labels, negatives, group_negatives(M, 3))
    whole = start_stream(name, texts, 0.1)(pictures)
    push = start_stream(name, texts, 0.1)
    pieces = [push(part) for part in np.split(pictures, sorted(cuts))]
    for want, found in zip(whole, zip(*pieces, strict=True), strict=True):
        np.testing.assert_allclose(np.concatenate(found), want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["adaneg", "clipscope", "tanl"])
def test_a_stream_without_negatives_says_nothing_and_others_are_refused(name: str) -> None:
    labels, _, pictures = world(5)
    for found in start_stream(name, Texts(labels, np.empty((0, D), np.float32)))(pictures):
        assert found.shape == (5,)
        assert np.isnan(found).all()
    with pytest.raises(ValueError, match="at least one ID label"):
        start_stream(name, Texts(labels[:0], labels))
    with pytest.raises(ValueError, match="temperature 0"):
        start_stream(name, Texts(labels, labels), 0.0)
    with pytest.raises(UsageError, match="can't be compared; use one model"):
        Texts(labels, labels[:, 1:])
    with pytest.raises(UsageError, match="needs the pictures as a stream, in order; start one"):
        compute_all({name: None}, Block(pictures @ labels.T, pictures @ labels.T))
    with pytest.raises(UsageError, match=r"'mcm' is not one of a stream \(adaneg, clipscope, tanl\)"):
        start_stream("mcm", Texts(labels, labels))
