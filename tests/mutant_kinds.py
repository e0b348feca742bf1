"""What is damaged, which stage then reads it, and what must be left of the healthy part."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from neglabel.corpora import check_corpus, open_corpus
from neglabel.pipeline import config, store, summary
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.settings import EncodeSettings, ReportSettings

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".gif": "GIF", ".tif": "TIFF", ".webp": "WEBP", ".bmp": "BMP", ".ppm": "PPM"}

HEAD = """CREATE TABLE `page` (
  `page_id` int(8),
  `page_namespace` int(11),
  `page_title` varbinary(255),
  `page_is_redirect` tinyint(1),
  `page_random` double,
  `page_content_model` varbinary(32)
) ENGINE=InnoDB;
"""


def _quiet() -> Reporter:
    return Reporter(quiet=True)


def _shown(name: str, made: dict[str, Any]) -> dict[str, Any]:
    summary.show(name, made)
    json.dumps(made, ensure_ascii=False)
    return made


def _encode(box: Path, out: Path) -> dict[str, Any]:
    from neglabel.pipeline.encode import encode

    given = {"corpus": [str(box / "words.txt")], "model": str(box / "model"), "shard_rows": 40,
             "device": "cpu", "precision": "fp32", "out": box / "store"}  # fmt: skip
    return _shown("encode", encode(config.make(EncodeSettings, given), _quiet()))


def _mine(box: Path, out: Path, **more: Any) -> dict[str, Any]:
    from neglabel.pipeline.mine import mine

    given = {"candidates": [box / "store"], "labels": box / "labels" / "labels.parquet", "out": out / "n.parquet",
             "top": 10, "device": "cpu", **more}  # fmt: skip
    return _shown("mine", mine(config.make(MineSettings, given), _quiet()))


def _mine_listed(box: Path, out: Path) -> dict[str, Any]:
    _mine(box, out, exclude=[box / "labels" / "exclude.txt"], out=out / "m.parquet")
    return _mine(box, out, labels=box / "labels" / "names.txt", model=str(box / "model"))


def _score(box: Path, out: Path, **more: Any) -> dict[str, Any]:
    from neglabel.pipeline.score import score

    given = {"negatives": box / "negatives" / "n.parquet", "labels": box / "labels" / "labels.parquet",
             "out": out / "s", "id": {"in": str(box / "vectors" / "id.parquet")},
             "ood": {"far": str(box / "vectors" / "ood.parquet")}, "groups": 2, "device": "cpu", **more}  # fmt: skip
    return _shown("score", score(config.make(ScoreSettings, given), _quiet()))


def _pictures(box: Path, out: Path, **more: Any) -> dict[str, Any]:
    given = {"id": {"p": str(box / "pictures")}, "ood": {"q": f"{box / 'lists' / 'list.txt'}@{box / 'others'}"},
             "model": str(box / "model"), "workers": 2, "batch_size": 4}  # fmt: skip
    return _score(box, out, **{**given, **more})


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
        Kind("store", ["store"], _mine, _ten_words),
        Kind("encode", ["store"], _encode, _same_store, ["store"]),
        Kind("labels", ["labels"], _mine_listed, _ten_words),
        Kind("work", ["work"], lambda box, out: _mine(box, out, work=box / "work"), _same_words, ["work"]),
        Kind("mined", ["negatives"], _score, _nothing),
        Kind("vectors", ["vectors"], _score, _nothing),
        Kind("scores", ["scores"], _report, _nothing),
        Kind("cache", ["cache"], lambda box, out: _pictures(box, out, cache=box / "cache"), _same_pictures, ["cache"]),
        Kind("pictures", ["pictures", "lists"], _pictures, _all_pictures),
        Kind("corpora", ["corpora"], _corpora, _other_words),
        Kind("settings", ["toml"], _settings, _nothing),
    )
}


def build(world: Path, model: Path) -> None:
    """The healthy world."""
    rng = np.random.default_rng(0)
    for name in ("corpora", "labels", "vectors", "pictures", "others", "lists", "toml", "negatives", "spare"):
        (world / name).mkdir(parents=True)
    (world / "model").symlink_to(model)
    words = [f"word {i}" for i in range(30)]
    (world / "words.txt").write_text("\n".join(f"word {i}" for i in range(120)))
    _encode(world, world / "spare")
    _write_corpora(world / "corpora", words)
    for path, count, extra in (("labels/labels.parquet", 5, {}), ("vectors/id.parquet", 30, {"label": [0, 1] * 15}),
                               ("vectors/ood.parquet", 20, {"path": ["x.png"] * 20})):  # fmt: skip
        x = rng.normal(size=(count, 32)).astype(np.float32)
        columns = {"text": words[:count]} if "labels" in path else {"id": [f"p{i}" for i in range(count)], **extra}
        store.write_table(world / path, pa.table({**columns, "embedding": store.embedding_array(x)}))
    (world / "labels" / "names.txt").write_text("dog\ncat\n")
    (world / "labels" / "exclude.txt").write_text("word 1\nword 2\n")
    dice = random.Random(0)
    for place in (world / "pictures" / "a", world / "others"):
        place.mkdir(exist_ok=True)
        for suffix, kind in SUFFIXES.items():
            pixels = np.frombuffer(dice.randbytes(24 * 20 * 3), np.uint8).reshape(24, 20, 3)
            Image.fromarray(pixels).save(place / f"x{suffix}", kind)
    (world / "lists" / "list.txt").write_text("".join(f"x{suffix} a\n" for suffix in SUFFIXES))
    _mine(world, world / "negatives", work=world / "work")
    (world / "negatives" / "n.parquet.settings.toml").rename(world / "toml" / "mine.toml")
    _score(world, world / "spare", keep_embeddings=True)
    (world / "spare" / "s").rename(world / "scores")
    _score(world, world / "spare", temperature={"neglabel": 0.02})
    (world / "spare" / "s").rename(world / "scores2")
    _pictures(world, world / "spare", cache=world / "cache")
    (world / "spare" / "s" / "scores-p.parquet").rename(world / "cached.parquet")


def _write_corpora(place: Path, words: list[str]) -> None:
    text = "\n".join(words) + "\n"
    (place / "words.txt").write_text(text)
    (place / "words.csv").write_text("text,pos\n" + "".join(f'"{w}",n\n' for w in words))
    (place / "words.tsv").write_text("text\tpos\n" + "".join(f"{w}\tn\n" for w in words))
    (place / "words.jsonl").write_text("".join(json.dumps({"text": w, "key": i}) + "\n" for i, w in enumerate(words)))
    (place / "plain.txt.gz").write_bytes(gzip.compress(text.encode()))
    (place / "plain.txt.zst").write_bytes(pa.compress(text.encode(), "zstd", asbytes=True))
    pq.write_table(pa.table({"text": words, "pos": ["noun"] * 30}), place / "words.parquet")
    rows = ",".join(f"({i},0,'{w}',0,0.5,NULL)" for i, w in enumerate(words))
    dump = f"{HEAD}INSERT INTO `page` VALUES {rows};\n".encode()
    (place / "enwiki-1-page.sql").write_bytes(dump)
    (place / "enwiki-1-page.sql.gz").write_bytes(gzip.compress(dump))
    (place / "enwiki-1-titles.gz").write_bytes(gzip.compress(f"page_title\n{text}".encode()))
