"""What is damaged, which stage then reads it, and what must be left of the healthy part."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from neglabel.corpora import check_corpus, open_corpus
from neglabel.pipeline import config, summary
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.settings import EncodeSettings, ReportSettings

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".gif": "GIF", ".tif": "TIFF", ".webp": "WEBP", ".bmp": "BMP", ".ppm": "PPM"}


def _quiet() -> Reporter:
    return Reporter(quiet=True)


def _shown(name: str, made: dict[str, Any]) -> dict[str, Any]:
    summary.show(name, made)
    json.dumps(made, ensure_ascii=False)
    return made


def encode(box: Path, out: Path) -> dict[str, Any]:
    from neglabel.pipeline.encode import encode

    given = {"corpus": [str(box / "words.txt")], "model": str(box / "model"), "shard_rows": 40,
             "device": "cpu", "precision": "fp32", "out": box / "store"}  # fmt: skip
    return _shown("encode", encode(config.make(EncodeSettings, given), _quiet()))


def mine(box: Path, out: Path, /, **more: Any) -> dict[str, Any]:
    from neglabel.pipeline.mine import mine

    given = {"candidates": [box / "store"], "labels": box / "labels" / "labels.parquet", "out": out / "n.parquet",
             "top": 10, "device": "cpu", **more}  # fmt: skip
    return _shown("mine", mine(config.make(MineSettings, given), _quiet()))


def _mine_listed(box: Path, out: Path) -> dict[str, Any]:
    mine(box, out, exclude=[box / "labels" / "exclude.txt"], out=out / "m.parquet")
    return mine(box, out, labels=box / "labels" / "names.txt", model=str(box / "model"))


def score(box: Path, out: Path, /, **more: Any) -> dict[str, Any]:
    from neglabel.pipeline.score import score

    given = {"negatives": box / "negatives" / "n.parquet", "labels": box / "labels" / "labels.parquet",
             "out": out / "s", "id": {"in": str(box / "vectors" / "id.parquet")},
             "ood": {"far": str(box / "vectors" / "ood.parquet")}, "groups": 2, "device": "cpu", **more}  # fmt: skip
    return _shown("score", score(config.make(ScoreSettings, given), _quiet()))


def pictures(box: Path, out: Path, /, **more: Any) -> dict[str, Any]:
    given = {"id": {"p": str(box / "pictures")}, "ood": {"q": f"{box / 'lists' / 'list.txt'}@{box / 'others'}"},
             "model": str(box / "model"), "workers": 2, "batch_size": 4}  # fmt: skip
    return score(box, out, **{**given, **more})


def _report(box: Path, out: Path) -> dict[str, Any]:
    from neglabel.pipeline.report import report

    given = {"scores": [box / "scores", box / "scores2"], "out": out / "r", "cases": 0}
    return _shown("report", report(config.make(ReportSettings, given), _quiet()))


def _corpora(box: Path, out: Path) -> dict[str, Any]:
    """Every corpus on its own: one that is refused says nothing of the others."""
    from neglabel import NeglabelError

    words: dict[str, list[str]] = {}
    refused: list[NeglabelError] = []
    for spec, path in corpora(box).items():
        rejected: list[Any] = []
        try:
            check_corpus(spec)
            words[path] = [word.text for word in open_corpus(spec, rejected.append)]
        except NeglabelError as error:
            refused.append(error)
    if refused:
        raise refused[0]
    return {"words": words}


def corpora(box: Path) -> dict[str, str]:
    """Specs of the corpora of the world, and the file of each."""
    files = sorted((box / "corpora").iterdir())
    return {
        (f"wikipedia:path={path}" if path.name.startswith("enwiki") else f"file:path={path}"): path.name
        for path in files
    }  # fmt: skip


def _settings(box: Path, out: Path) -> dict[str, Any]:
    config.make(MineSettings, {}, box / "toml" / "mine.toml")
    return {}


class Kind(NamedTuple):
    """``folders``: of the world, what is damaged; ``writes``: what may change there."""

    name: str
    folders: Sequence[str]
    run: Callable[[Path, Path], dict[str, Any]]
    check: Callable[[Path, Path, dict[str, Any], list[str]], None]
    writes: Sequence[str] = ()

    def victims(self, box: Path) -> list[Path]:
        return sorted(
            path
            for name in self.folders
            for path in (box / name).rglob("*")
            if path.is_file() and (path.name != "settings.toml")
        )


def _nothing(box: Path, out: Path, made: dict[str, Any], hurt: list[str]) -> None:
    pass


def _ten_words(box: Path, out: Path, made: dict[str, Any], hurt: list[str]) -> None:
    assert 0 <= pq.read_metadata(out / "n.parquet").num_rows <= 10


def _same_words(box: Path, out: Path, made: dict[str, Any], hurt: list[str]) -> None:
    """What is kept of earlier runs can be lost, not change the result."""
    there, kept = (pq.read_table(p, columns=["text", "distance"]).to_pydict() for p in (
        out / "n.parquet", box / "negatives" / "n.parquet"))  # fmt: skip
    assert there == kept


def _same_store(box: Path, out: Path, made: dict[str, Any], hurt: list[str]) -> None:
    words = [
        w
        for p in sorted((box / "store").glob("shard-*"))
        for w in pq.read_table(p, columns=["text"])["text"].to_pylist()
    ]
    assert sorted(words) == sorted(f"word {i}" for i in range(120)), "the store isn't whole again"


def _all_pictures(box: Path, out: Path, made: dict[str, Any], hurt: list[str]) -> None:
    """Scored, or counted as unreadable."""
    for data in made["datasets"]:
        # A picture may be gone, or a folder in its place; of a list that is damaged any line may be.
        if data["name"] == "p" or "list.txt" not in hurt:
            assert data["rows"] + data["unreadable"] >= len(SUFFIXES) - len(hurt), data
        assert data["unreadable"] <= len(hurt), data
        assert pq.read_metadata(out / "s" / f"scores-{data['name']}.parquet").num_rows == data["rows"]


def _same_pictures(box: Path, out: Path, made: dict[str, Any], hurt: list[str]) -> None:
    logits = [pq.read_table(p)["neglabel_logit"].to_numpy() for p in (
        out / "s" / "scores-p.parquet", box / "cached.parquet") if p.exists()]  # fmt: skip
    assert all(np.allclose(one, logits[0], atol=1e-3) for one in logits), "the cache gives other embeddings"


def _other_words(box: Path, out: Path, made: dict[str, Any], hurt: list[str]) -> None:
    for name, words in made["words"].items():
        assert name in hurt or len(words) == 30, (name, len(words))


KINDS = {
    kind.name: kind
    for kind in (
        Kind("store", ["store"], mine, _ten_words),
        Kind("encode", ["store"], encode, _same_store, ["store"]),
        Kind("labels", ["labels"], _mine_listed, _ten_words),
        Kind("work", ["work"], lambda box, out: mine(box, out, work=box / "work"), _same_words, ["work"]),
        Kind("mined", ["negatives"], score, _nothing),
        Kind("vectors", ["vectors"], score, _nothing),
        Kind("scores", ["scores"], _report, _nothing),
        Kind("cache", ["cache"], lambda box, out: pictures(box, out, cache=box / "cache"), _same_pictures, ["cache"]),
        Kind("pictures", ["pictures", "lists"], pictures, _all_pictures),
        Kind("corpora", ["corpora"], _corpora, _other_words),
        Kind("settings", ["toml"], _settings, _nothing),
    )
}
