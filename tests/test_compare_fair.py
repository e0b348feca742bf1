"""Runs that differ in more than their words are refused, each by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neglabel import UsageError
from neglabel.pipeline.report.compare.equal import considered
from neglabel.pipeline.report.compare.fair import fair, fair_where_known
from neglabel.pipeline.report.read import read_runs

from .make_kept import World, write_kept

WORLD = World(pictures={"animals": 8, "food": 6})
OTHER = World(pictures={"animals": 8, "food": 7})
WORDS = [f"w{i}" for i in range(8)]
COUNTS = {"candidates": 600, "duplicates": 20, "id_names": 3, "excluded": 7, "kept": 8}

UNFAIR: dict[str, tuple[dict[str, Any], str]] = {
    "label prompts": (
        {"settings": {"label_prompt": ["a {}"]}}, r"prompts of labels differ: The nice \{\}\. .*--label-prompt"
    ),
    "mined prompts": (
        {"metadata": {"labels": {"names": ["cat", "dog", "owl", "fish"], "prompts": ["{}"]}}}, "when mining differ"
    ),
    "mined labels": (
        {"metadata": {"labels": {"names": ["cat"], "prompts": ["The nice {}."]}}}, "labels mined for differ"
    ),
    "labels": ({"manifest": {"labels": ["cat", "dog", "owl", "cow"]}}, "ID labels differ: fish in a, cow in b"),
    "model": (
        {"metadata": {"model": {"model": "emoji", "checkpoint_sha256": "cd"}}}, "models differ.*ab.*in a.*cd.*in b"
    ),
    "preset": ({"mined": {"preset": "official"}}, "presets differ: paper in a, official in b; .*--preset"),
    "candidates": ({"candidates": 700}, "numbers of candidates differ: 500 in a, 700 in b; .*`mine --sample 500`"),
    "percentile": ({"mined": {"percentile": 0.1}}, "percentiles differ: 0.05 in a, 0.1 in b; .*--percentile"),
    "dedupe": ({"mined": {"dedupe": "none"}}, "rules for duplicates differ: text in a, none in b; .*--dedupe"),
    "per pos": ({"mined": {"per_pos": True}}, "parts of speech differ: no in a, yes in b"),
    "ID names": ({"mined": {"keep_id_names": True}}, "rules for ID names differ"),
    "temperature": (
        {"manifest": {"scores": [{"name": "neglabel", "temperature": 0.02, "groups": 4}]}},
        "temperatures differ: neglabel=0.05 in a, neglabel=0.02 in b; .*--temperature",
    ),
    "groups": (
        {"manifest": {"scores": [{"name": "neglabel", "temperature": 0.05, "groups": 2}]}}, "groups differ.*--groups"
    ),
    "order": ({"settings": {"group_order": "rank"}}, "orders of groups differ: random in a, rank in b"),
    "drop": ({"settings": {"group_drop": "random"}}, "left out of groups differ: last in a, random in b"),
    "seed": ({"settings": {"seed": 1}}, "seeds of groups differ: 0 in a, 1 in b; .*--seed"),
}  # fmt: skip


def pair(tmp_path: Path, **other: Any) -> list[Any]:
    write_kept(tmp_path / "a", WORLD, WORLD.words(8), WORDS)
    write_kept(tmp_path / "b", WORLD, WORLD.words(8, seed=2), WORDS[::-1], **other)
    return read_runs([tmp_path / "a", tmp_path / "b"])


def refused(runs: list[Any], match: str, check: Callable[[list[Any]], Any] = fair) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        check(runs)
    assert "\n" not in str(caught.value)


def test_equal_runs_are_fair(tmp_path: Path) -> None:
    runs = pair(tmp_path, source="list", language="", pos="", stores=["other"])
    assert fair(runs) == "neglabel"
    fair_where_known(runs)


@pytest.mark.parametrize("changed", ["features_sha256", "classes_sha256"])
def test_banks(tmp_path: Path, changed: str) -> None:
    bank = {"source": "a.parquet", "rows": 9, "features_sha256": "ab", "classes_sha256": "cd"}
    for name, about in (("a", bank), ("b", {**bank, "source": "b.parquet"}), ("c", {**bank, changed: "ef"})):
        write_kept(tmp_path / name, WORLD, WORLD.words(8), WORDS, manifest={"bank": about})
    runs = read_runs([tmp_path / name for name in "abc"])
    assert fair(runs[:2]) == "neglabel"
    refused(runs, f'the banks differ: .*"{bank[changed]}".* in a, .*"ef".* in c; score both with the same --bank')


def test_a_bank_beside_none(tmp_path: Path) -> None:
    about = {"rows": 9, "features_sha256": "ab", "classes_sha256": "cd"}
    refused(pair(tmp_path, manifest={"bank": about}), "the banks differ: none in a, ")


@pytest.mark.parametrize("what", UNFAIR)
def test_each_unfairness_is_named(tmp_path: Path, what: str) -> None:
    other, match = UNFAIR[what]
    refused(pair(tmp_path, **other), match)


def test_numbers_of_negatives(tmp_path: Path) -> None:
    write_kept(tmp_path / "a", WORLD, WORLD.words(8), WORDS)
    write_kept(tmp_path / "b", WORLD, WORLD.words(4), WORDS[:4])
    refused(read_runs([tmp_path / "a", tmp_path / "b"]), "numbers of negatives differ: 8 in a, 4 in b; .*--top")


def test_pictures(tmp_path: Path) -> None:
    write_kept(tmp_path / "a", WORLD, WORLD.words(8), WORDS)
    write_kept(tmp_path / "b", OTHER, WORLD.words(8), WORDS)
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    refused(runs, r"data sets differ: food \(ood, 6\) in a, food \(ood, 7\) in b")


def test_embeddings_and_names_of_pictures(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_kept(tmp_path / "a", WORLD, WORLD.words(8), WORDS)
    moved = World(pictures=dict(WORLD.pictures))
    moved.embeddings["food"] = moved.embeddings["food"][::-1].copy()
    write_kept(tmp_path / "b", moved, WORLD.words(8), WORDS)
    refused(read_runs([tmp_path / "a", tmp_path / "b"]), "pictures' embeddings differ: food", fair_where_known)
    path = tmp_path / "b" / "scores-food.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(np.arange(6)[::-1]), path)
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    refused(runs, "pictures differ: food: food/0.png in a, food: food/5.png in b")


def test_prompts_of_words_where_stores_can_be_read(tmp_path: Path) -> None:
    for name, prompt in (("one", "a {}"), ("two", "the {}")):
        (tmp_path / name).mkdir()
        text = f'{{"format": "neglabel-candidates", "version": 1, "prompts": {{"": "{prompt}"}}}}'
        (tmp_path / name / "manifest.json").write_text(text)
    write_kept(tmp_path / "a", WORLD, WORLD.words(8), WORDS, stores=[str(tmp_path / "one")])
    write_kept(tmp_path / "b", WORLD, WORLD.words(8), WORDS, stores=[str(tmp_path / "two")])
    refused(read_runs([tmp_path / "a", tmp_path / "b"]), "prompts of the words differ.*--prompt", fair_where_known)


def test_what_is_no_source(tmp_path: Path) -> None:
    runs = pair(tmp_path)
    refused(runs[:1], "at least two folders")
    write_kept(tmp_path / "c", WORLD, WORLD.words(8), WORDS, metadata={"counts": None})
    refused([runs[0], *read_runs([tmp_path / "c"])], "nothing says how many candidates .* of c .*not a list of words")
    write_kept(tmp_path / "d", WORLD, WORLD.words(8), WORDS, manifest={"datasets": []})
    refused([runs[0], *read_runs([tmp_path / "d"])], "d has no ID pictures; .*--id")


def test_candidates_considered(tmp_path: Path) -> None:
    runs = pair(tmp_path, metadata={"counts": COUNTS})
    assert considered(runs[1]) == 570
    write_kept(tmp_path / "c", WORLD, WORLD.words(8), WORDS, metadata={"counts": {**COUNTS, "sampled": 500}})
    assert fair([runs[0], *read_runs([tmp_path / "c"])]) == "neglabel"
