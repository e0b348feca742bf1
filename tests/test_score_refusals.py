"""Bad input to the score stage: one sentence, and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.score_settings import ScoreSettings

from .make_world import D, M, make_gallery, make_world, options, run, unit, with_pictures, write


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_world(tmp_path)


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return make_gallery(make_world(tmp_path))


def test_bad_input_is_one_sentence_and_writes_nothing(world: Path) -> None:
    rng = np.random.default_rng(1)
    write(world / "thin.parquet", unit(rng, 4, 8), text=list("abcd"))
    hole = unit(rng, M)
    hole[3, 2] = np.nan
    write(world / "nan.parquet", hole, text=["w"] * M)
    write(world / "scores.parquet", unit(rng, 2), {"format": "neglabel-candidates"}, text=["a", "b"])
    (world / "words.txt").write_bytes(b"caf\xe9\n")
    (world / "other").mkdir()
    (world / "other" / "thesis.tex").write_text("")
    (world / "pictures" / "inner").mkdir(parents=True)
    for name in ("a.png", "inner/b.png"):
        Image.new("RGB", (9, 9)).save(world / "pictures" / name)
    here = str(world / "id.parquet")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"score": ["ncm"]}, "unknown score 'ncm'; valid: neglabel, neglabel-ungrouped, mcm, msp"),
        ({"temperature": {"neglabel": 0.0}}, "above 0"),
        ({"temperature": {"neglabel": float("nan")}}, "above 0"),
        ({"temperature": {"neglabel": 0.1}, "score": ["mcm"]}, "score asked for"),
        ({"groups": 41}, "--groups 1"),
        ({"ood": {"same": f"{world}/../{world.name}/id.parquet"}}, "the same pictures"),
        ({"id": {"a": str(world / "pictures")}, "ood": {"b": str(world / "pictures/inner")}}, "lies inside"),
        ({"ood": {"IN": str(world / "ood.parquet")}}, "give each its own"),
        ({"ood": {"../x": here}}, "file's name"),
        ({"ood": {".x": here}}, "file's name"),
        ({"id": {}, "ood": {}}, "no pictures"),
        ({"ood": {"x": str(world / "gone")}}, "do not exist"),
        ({"labels": world / "gone.txt"}, "does not exist"),
        ({"negatives": world / "gone.parquet"}, "no such file"),
        ({"negatives": world / "nan.parquet"}, "row 4"),
        ({"negatives": world / "scores.parquet"}, "not negatives"),
        ({"negatives": world / "id.parquet"}, "no `text` column"),
        ({"negatives": world / "thin.parquet", "groups": 1}, f"{D} dimensions and negatives .*thin.parquet 8"),
        ({"ood": {"x": str(world / "thin.parquet")}}, f"{D} dimensions and pictures .*thin.parquet 8"),
        ({"negatives": world / "words.txt"}, "not UTF-8"),
        ({"label_prompt": ["no place"]}, "needs {} once"),
        ({"negatives_prompt": "no place"}, "needs {} once"),
        ({"out": world / "other"}, "holds something else"),
        ({"out": world / "words.txt"}, "is a file"),
    ]
    for changes, what in cases:
        out = changes.get("out", world / "out")
        before = sorted(world.rglob("*"))
        settings = ScoreSettings(**{**options(world).model_dump(), **changes})
        with pytest.raises(NeglabelError, match=what.replace("{}", r"\{\}")) as caught:
            run(settings)
        assert "\n" not in str(caught.value)
        assert sorted(world.rglob("*")) == before, changes
        assert not (out / "manifest.json").exists()


def refused(settings: ScoreSettings, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        run(settings)
    assert not settings.out.exists()


def test_a_device_that_is_not_there_is_refused(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused(ScoreSettings(**{**options(world).model_dump(), "device": "cuda"}), "--device cuda")


def test_too_many_groups_name_both_places(world: Path) -> None:
    refused(options(world, groups=41), r"--groups 41 \(in a run file: \[score\] groups\) is more than the 40 negative")


def test_a_model_is_not_guessed_beside_embeddings_of_unknown_origin(gallery: Path, tiny_model: Path) -> None:
    words = {"negatives": gallery / "words.txt", "labels": gallery / "labels.txt", "ood": {}}
    thin = write(gallery / "thin.parquet", unit(np.random.default_rng(0), 3, 32), text=list("abc"))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"negatives": thin}, r"pictures .*cats .*nothing says which model .*thin\.parquet; give --model"),
        ({"labels": thin}, r"pictures .*cats .*nothing says which model .*thin\.parquet; give --model"),
        ({"negatives": thin, "id": {"a": str(thin)}}, r"labels .*labels\.txt is text and nothing says which model"),
        ({"labels": thin, "id": {"a": str(thin)}}, r"negatives .*words\.txt is text and nothing says which model"),
        ({"id": {"a": str(thin)}}, r"negatives .*words\.txt is text and nothing says which model"),
    ]
    for changes, what in cases:
        refused(with_pictures(gallery, None, **{**words, **changes}), what)
        run(with_pictures(gallery, tiny_model, out=gallery / "known", **{**words, **changes}))
    # Nothing but text and pictures: the default, which these weights stand in for.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neglabel.pipeline.models.load_model", lambda name, *rest: pytest.fail(f"loads {name}"))
        with pytest.raises(pytest.fail.Exception, match="loads ViT-B-16"):
            run(with_pictures(gallery, None, **words))


def test_negatives_of_a_newer_neglabel(world: Path) -> None:
    metadata = {"format": "neglabel-negatives", "version": 2}
    newer = write(world / "newer.parquet", unit(np.random.default_rng(0), 3), metadata, text=list("abc"))
    refused(options(world, negatives=newer, groups=1), r"newer\.parquet was made by a newer neglabel \(version 2\)")
