"""What ``mine --work DIR`` keeps of each file of candidates, so that the next run reads only what is new.

``words-KEY.npy``: digests of the words. ``best-KEY.kept``, Parquet: of one label set and one choice of rows, the rows
that can be among the best or the nearest, and the histogram. Each file ends with the SHA-256 of its name and of what
stands before; one that doesn't is made again, and anything in the folder may be deleted. A file's best rows are those
that reach the bound that held when the file was done; adding candidates only raises that bound, so they suffice until
one asks for more of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.storage import StorageError
from neglabel.corpora.uri import Location
from neglabel.pipeline import store
from neglabel.pipeline.candidates import TEXT_COLUMNS, Stores
from neglabel.pipeline.choose_rows import Selection, read_words
from neglabel.pipeline.files import replacing
from neglabel.pipeline.leftovers import sweep
from neglabel.pipeline.search import Search
from neglabel.pipeline.word_digests import Words

FORMAT = "neglabel-mine-work"
#: Raised where what is kept, or how it is found, changes.
VERSION = 3
Arrays = dict[str, NDArray[Any]]


class Record(NamedTuple):
    """Of one file: ``rows`` of each group and of the nearest, ``row`` counted in the file; their bounds; the rest."""

    rows: list[Arrays]
    bounds: list[tuple[float, bool]]
    histogram: NDArray[np.int64]
    text: tuple[NDArray[np.int64], pa.Table]

    def holds(self, search: Search) -> bool:
        """Whether no row that was left out can be among the best of ``search``, which is done."""
        return all(
            best.bound > bound or (best.bound == bound and not lost)
            for best, (bound, lost) in zip((*search.best, search.near), self.bounds, strict=True)
        )


class Work:
    """The folder of ``--work``; None keeps nothing. Raises UsageError where it is no folder."""

    def __init__(self, folder: Location | None, stores: Stores) -> None:
        if folder is not None and folder.exists() and not folder.is_dir():
            raise UsageError(f"--work {folder} is a file; name a folder")
        if isinstance(folder, Path):
            sweep(folder)
        self.folder, self.stores = folder, stores

    def words(self, number: int) -> Words:
        """The digests of a file's words, kept or read from it."""
        found = self.kept_words(number)
        if found is None:
            found = read_words(self.stores.files[number])
            self.keep_words(number, found)
        return found

    def kept_words(self, number: int) -> Words | None:
        """Those digests where they are kept, whole."""
        path = self._path("words", number, "npy")
        if path is not None and (whole := _unsealed(path)):
            kept = np.load(BytesIO(whole), allow_pickle=False)
            if kept.shape == (store.open_parquet(self.stores.files[number]).metadata.num_rows, 3):
                return Words(np.ascontiguousarray(kept[:, :2]), np.ascontiguousarray(kept[:, 2]))
        return None

    def keep_words(self, number: int, words: Words) -> None:
        """Keep a file's digests for the next run."""
        path = self._path("words", number, "npy")
        if path is not None:
            file = BytesIO()
            np.save(file, np.column_stack([words.text, words.pos]))
            _seal(path, file)

    def key(
        self, number: int, selection: Selection, labels: NDArray[Any], percentile: float, near_last: float | None = None
    ) -> str:
        """What a file's best rows depend on, but for M."""
        parts = (selection.keep[number], selection.groups[number], np.ascontiguousarray(labels, np.float32))
        return " ".join([*(sha256(part.tobytes()).hexdigest() for part in parts), repr(percentile),
                         *(() if near_last is None else (repr(near_last),))])  # fmt: skip

    def load(self, number: int, key: str) -> Record | None:
        """What is kept under ``key``; None where nothing whole is."""
        path = self._path("best", number, "kept", key)
        whole = None if path is None else _unsealed(path)
        if whole is None:
            return None
        table = pq.read_table(pa.BufferReader(whole))
        about = json.loads(table.schema.metadata[store.METADATA_KEY])
        # Not -1 for the length: of a file there may be no row.
        shape = table.num_rows, self.stores.dimension
        embedding = np.asarray(table["embedding"].combine_chunks().flatten()).reshape(shape)
        columns = {name: table[name].to_numpy() for name in ("row", "distance", "nearest", "cosine")}
        which = table["which"].to_numpy()
        rows = [
            {name: values[which == n] for name, values in {**columns, "embedding": embedding}.items()}
            for n in range(len(about["bounds"]))
        ]
        near = {name: rows[-1][name] for name in ("row", "distance")}
        order = np.argsort(columns["row"], kind="stable")
        text = table.select(TEXT_COLUMNS).take(pa.array(order))
        bounds = [(float(bound), bool(lost)) for bound, lost in about["bounds"]]
        return Record([*rows[:-1], near], bounds, np.array(about["histogram"], np.int64),
                      (columns["row"][order], text))  # fmt: skip

    def save(self, number: int, key: str, record: Record) -> None:
        """Keep a file's record whole or not at all."""
        path = self._path("best", number, "kept", key)
        if path is None:
            return
        row, text = record.text
        sizes = [len(rows["row"]) if rows else 0 for rows in record.rows]
        held = [rows for rows in record.rows if rows]

        def column(name: str, dtype: Any) -> NDArray[Any]:
            parts = [rows[name] if name in rows else np.zeros(len(rows["row"]), dtype) for rows in held]
            return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)

        rows = column("row", np.int64)
        taken = text.take(pa.array(np.searchsorted(row, rows)))
        table = pa.table(
            {
                "row": rows, "which": np.repeat(np.arange(len(sizes), dtype=np.int8), sizes),
                "distance": column("distance", np.float64), "nearest": column("nearest", np.int32),
                "cosine": column("cosine", np.float64), **{name: taken[name] for name in TEXT_COLUMNS},
                "embedding": store.embedding_array(_embeddings(held, self.stores.dimension)),
            }
        )  # fmt: skip
        about = {"format": FORMAT, "version": VERSION, "bounds": record.bounds, "histogram": record.histogram.tolist()}
        file = BytesIO()
        store.write_to(file, table.replace_schema_metadata({store.METADATA_KEY: json.dumps(about).encode()}))
        _seal(path, file)

    def _path(self, kind: str, number: int, suffix: str, key: str = "") -> Location | None:
        if self.folder is None:
            return None
        digest = sha256(f"{VERSION} {self.stores.keys[number]} {key}".encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / f"{kind}-{digest[:32]}.{suffix}"


def _seal(path: Location, file: BytesIO) -> None:
    """Write ``file`` and, behind it, the SHA-256 of its name and of it."""
    with replacing(path) as temporary, open(temporary, "wb") as out:
        out.write(file.getbuffer())
        out.write(_digest(path, file.getbuffer()))


def _digest(path: Location, content: memoryview) -> bytes:
    # With its name: another file of the folder, whole in itself, must not stand in its place.
    digest = sha256(path.name.encode())
    digest.update(content)
    return digest.digest()


def _unsealed(path: Location) -> memoryview | None:
    """What :func:`_seal` wrote; None where that is not there, or is not what was written: it is made again."""
    try:
        if not path.is_file():
            return None
        whole = memoryview(path.read_bytes())
    except StorageError:
        raise
    except (OSError, NeglabelError):
        return None
    return whole[:-32] if len(whole) > 32 and _digest(path, whole[:-32]) == whole[-32:] else None


def _embeddings(held: Sequence[Arrays], dimension: int) -> NDArray[Any]:
    """The nearest come without: zeros in their place."""
    with_ = [rows["embedding"] for rows in held if "embedding" in rows]
    dtype = with_[0].dtype if with_ else np.dtype(np.float16)
    parts = [
        rows["embedding"] if "embedding" in rows else np.zeros((len(rows["row"]), dimension), dtype) for rows in held
    ]
    return np.concatenate([np.empty((0, dimension), dtype), *parts])
