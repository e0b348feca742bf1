"""The healthy world that is damaged: a store, labels, negatives, scores, a cache, pictures, corpora."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from neglabel.pipeline import store

from .mutant_kinds import SUFFIXES, encode, mine, pictures, score

HEAD = """CREATE TABLE `page` (
  `page_id` int(8),
  `page_namespace` int(11),
  `page_title` varbinary(255),
  `page_is_redirect` tinyint(1),
  `page_random` double,
  `page_content_model` varbinary(32)
) ENGINE=InnoDB;
"""


def build(world: Path, model: Path) -> None:
    """The healthy world."""
    rng = np.random.default_rng(0)
    for name in ("corpora", "labels", "vectors", "pictures", "others", "lists", "toml", "negatives", "spare"):
        (world / name).mkdir(parents=True)
    (world / "model").symlink_to(model)
    words = [f"word {i}" for i in range(30)]
    (world / "words.txt").write_text("\n".join(f"word {i}" for i in range(120)))
    encode(world, world / "spare")
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
    mine(world, world / "negatives", work=world / "work")
    (world / "negatives" / "n.parquet.settings.toml").rename(world / "toml" / "mine.toml")
    score(world, world / "spare", keep_embeddings=True)
    (world / "spare" / "s").rename(world / "scores")
    score(world, world / "spare", temperature={"neglabel": 0.02})
    (world / "spare" / "s").rename(world / "scores2")
    pictures(world, world / "spare", cache=world / "cache")
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
