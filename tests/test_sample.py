"""The draw: uniform, the same whatever the order and the chunks; and de-duplication, exact against `sort -u`."""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from neglabel.corpora import Candidate
from neglabel.corpora.dedupe import Deduplicator, Mode
from neglabel.corpora.sample import Sample, priority
from neglabel.corpora.text import defect, normalise


def draw(words: Iterable[Candidate], n: int, seed: int = 0, mode: Mode = "text") -> list[Candidate]:
    sample = Sample[Candidate](n, seed, mode)
    for word in words:
        sample.offer(word)
    return sample.result()


def candidates(texts: Iterable[str]) -> list[Candidate]:
    return [Candidate(text) for text in texts]


DISTINCT = st.lists(st.text(min_size=1, max_size=6), max_size=40, unique_by=normalise).map(candidates)


@given(words=DISTINCT, n=st.integers(0, 45), seed=st.integers(0, 2**63 - 1), dice=st.randoms(use_true_random=False))
def test_the_draw_is_of_the_set_of_words(words: list[Candidate], n: int, seed: int, dice: random.Random) -> None:
    drawn = draw(words, n, seed)
    # By definition: the n lowest priorities, in the order of the stream.
    lowest = sorted(words, key=lambda word: priority(word.text, "", seed, "text"))[:n]
    assert drawn == [word for word in words if word in lowest]
    shuffled = dice.sample(words, len(words))
    assert set(draw(shuffled, n, seed)) == set(drawn)
    assert set(draw(words, max(n - 1, 0), seed)) <= set(drawn)


@given(words=DISTINCT, n=st.integers(1, 10), cut=st.integers(0, 40))
def test_samples_of_chunks_merge_into_the_sample_of_all(words: list[Candidate], n: int, cut: int) -> None:
    assert draw([*draw(words[:cut], n), *draw(words[cut:], n)], n) == draw(words, n)


@given(words=DISTINCT, n=st.integers(1, 10), gone=st.sets(st.integers(0, 39), max_size=3))
def test_taking_words_out_leaves_the_others_drawn(words: list[Candidate], n: int, gone: set[int]) -> None:
    left = [word for i, word in enumerate(words) if i not in gone]
    assert {word for word in draw(words, n) if word in left} <= set(draw(left, n))


def uniformity(draws: Iterable[Iterable[str]], words: list[str], n: int) -> float:
    """p-value of "every word is drawn with probability n/N", for draws without replacement.

    The counts of a draw sum to n, so their covariance has rank N−1 with the one eigenvalue p(1−p)·N/(N−1).
    """
    draws = list(draws)
    counts = Counter(word for drawn in draws for word in drawn)
    size, share = len(words), n / len(words)
    variance = len(draws) * share * (1 - share) * size / (size - 1)
    statistic = sum((counts[word] - len(draws) * share) ** 2 for word in words) / variance
    return float(chi2.sf(statistic, size - 1))


def test_inclusion_is_uniform_by_a_chi_square_test() -> None:
    words, n = [f"word {i}" for i in range(200)], 50
    fair = ([w.text for w in draw(candidates(words), n, seed)] for seed in range(2_000))
    assert uniformity(fair, words, n) > 0.001
    # Such a test finds a draw that favours a tenth of the words a little.
    favoured = set(words[:20])
    bent = []
    for seed in range(2_000):
        order = sorted(words, key=lambda w: priority(w, "", seed, "text") * (0.9 if w in favoured else 1))
        bent.append(order[:n])
    assert uniformity(bent, words, n) < 1e-6


def test_what_a_word_is_follows_the_mode() -> None:
    assert priority("Ice_Cream", "noun", 3, "text") == priority("ice  cream", "verb", 3, "text")
    assert priority("a", "noun", 3, "text+pos") != priority("a", "verb", 3, "text+pos")
    assert priority("a", "", 3, "none", 0) != priority("a", "", 3, "none", 1)
    assert len({priority("a", "", seed, "text") for seed in range(100)}) == 100


def test_every_occurrence_takes_part_under_none() -> None:
    words = [Candidate("a", key=str(i)) for i in range(100)] + candidates("bcd")
    taken = Counter(w.text for seed in range(300) for w in draw(words, 10, seed, "none"))
    assert taken["a"] + taken["b"] + taken["c"] + taken["d"] == 3_000
    assert 2_850 < taken["a"] < 2_970  # 100 of 103, within five standard deviations
    assert draw(words, 10, 1, "none") == draw(words, 10, 1, "none")


def test_a_stream_shorter_than_the_sample_is_taken_whole() -> None:
    words = candidates("dcba")
    assert draw(words, 10) == words
    assert draw(words, 0) == []
    assert draw([], 5) == []


def lines_with_repeats(count: int, seed: int) -> list[str]:
    """Normalised lines, a third of them met before, in many scripts."""
    dice = random.Random(seed)
    letters = "abcdefghij éüßаяжαλא中文字ﬁＡ²ǅ" + "\u0301\u00ad\u200d"
    found: list[str] = []
    while len(found) < count:
        text = found[dice.randrange(len(found))] if found and dice.random() < 0.33 else normalise(
            "".join(dice.choices(letters, k=dice.randint(1, 12)))
        )  # fmt: skip
        if text and defect(text) is None:
            found.append(text)
    return found


def check_against_sort(lines: list[str], folder: Path) -> None:
    path = folder / "lines.txt"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
    in_bytes = {**os.environ, "LC_ALL": "C"}
    found = subprocess.run(["sort", "-u", str(path)], env=in_bytes, capture_output=True, check=True)
    seen = Deduplicator("text")
    kept = [line.encode() for line in lines if seen.is_new(line)]
    assert 0 < len(kept) < len(lines)
    assert sorted(kept) == found.stdout.split(b"\n")[:-1]


def test_deduplication_is_exact_against_sort(tmp_path: Path) -> None:
    check_against_sort(lines_with_repeats(50_000, 1), tmp_path)


@pytest.mark.soak
def test_deduplication_of_a_million_lines_is_exact_against_sort(tmp_path: Path) -> None:
    check_against_sort(lines_with_repeats(1_000_000, 2), tmp_path)


def test_normalising_every_character_is_idempotent_and_ignores_invisible_ones() -> None:
    for number in range(0x110000):
        text = "e" + chr(number) + "\u0301"
        once = normalise(text)
        assert normalise(once) == once, hex(number)
        # The short cuts of `normalise` and `defect` lean on these.
        if chr(number).isalnum():
            assert normalise(chr(number)), hex(number)
    for invisible in "\u00ad\u200b\u200e\u200f\u202a\u2060\ufeff":
        assert normalise(f"co{invisible}op") == "coop"
        assert normalise(f"e{invisible}\u0301") == "é"
        assert defect(invisible) == "empty"
    assert normalise("\u0646\u200c\u0627") != normalise("\u0646\u0627")  # a joiner makes another word
    flags = ["\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in tag) + "\U000e007f" for tag in ("gbeng", "gbsct")]
    assert normalise(flags[0]) != normalise(flags[1])
