"""Data sets of the Hugging Face hub or of a local folder, streamed through ``datasets``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from neglabel import UsageError
from neglabel.corpora import hub_access


class DataSet(NamedTuple):
    """What to open: ``name`` on the hub or ``path`` of a folder; ``corpus`` is the adapter that asks."""

    corpus: str
    name: str | None
    path: Path | None
    config: str | None
    split: str
    revision: str | None

    def __str__(self) -> str:
        return f"corpus {self.corpus}: {self.name or self.path}"


def require_column(wanted: DataSet, column: str) -> None:
    """Open the data set and refuse a column that it doesn't have, by the names of those it has. Raises UsageError."""
    _require(wanted, _open(wanted, None), column)


def rows(wanted: DataSet, columns: Sequence[str], needed: str) -> Iterator[dict[str, Any]]:
    """The rows in order, cut to those of ``columns`` that are there.

    Raises:
        UsageError: no such data set, configuration, split or column.
        NeglabelError: the hub can't be reached, or what is there can't be read.
    """
    stream = _open(wanted, None)
    names = _require(wanted, stream, needed)
    there = [name for name in dict.fromkeys(columns) if name in names]
    if not names:
        return
    if getattr(stream.info, "builder_name", None) == "parquet" and set(there) < set(names):
        # Named when opened, the other columns aren't even downloaded.
        stream = _open(wanted, there)
    found = iter(stream.select_columns(there))
    while (row := _loaded(wanted, lambda: next(found, None))) is not None:
        yield row


def provenance(wanted: DataSet) -> dict[str, Any]:
    """What goes into the manifest: the data set, its pinned revision, and the licence that its card names."""
    if wanted.path is not None:
        return {"dataset": wanted.path.name, "split": wanted.split}
    info = _info(wanted)
    card = getattr(info, "card_data", None)
    licence = card.get("license") if card is not None else None
    return {
        "dataset": wanted.name, "config": wanted.config or "", "split": wanted.split, "revision": str(info.sha),
        **({"licence": licence if isinstance(licence, str) else ", ".join(licence)} if licence else {}),
    }  # fmt: skip


@cache
def _info(wanted: DataSet) -> Any:
    """What the hub says of the data set now; asked once, so that every reader sees one revision."""
    from huggingface_hub import HfApi

    return _loaded(wanted, lambda: HfApi().dataset_info(
        str(wanted.name), revision=wanted.revision, timeout=hub_access.TIMEOUT
    ))


def _open(wanted: DataSet, columns: list[str] | None) -> Any:
    with hub_access.quiet():
        return _opened(wanted, columns)


def _opened(wanted: DataSet, columns: list[str] | None) -> Any:
    import datasets

    more: dict[str, Any] = {} if columns is None else {"columns": columns}
    if wanted.path is None:
        revision = _info(wanted).sha
        return _loaded(wanted, lambda: datasets.load_dataset(
            wanted.name, wanted.config, split=wanted.split, revision=revision, streaming=True, **more
        ))  # fmt: skip
    if not wanted.path.is_dir():
        raise UsageError(f"{wanted} is no folder; name the folder of a data set")
    if any((wanted.path / file).exists() for file in ("state.json", "dataset_dict.json")):
        saved = _loaded(wanted, lambda: datasets.load_from_disk(str(wanted.path)))
        if isinstance(saved, datasets.DatasetDict):
            if wanted.split not in saved:
                raise UsageError(f"{wanted} has no split {wanted.split!r}; valid: {', '.join(saved)}")
            saved = saved[wanted.split]
        return saved.to_iterable_dataset()
    return _loaded(wanted, lambda: datasets.load_dataset(
        str(wanted.path), wanted.config, split=wanted.split, streaming=True, **more
    ))  # fmt: skip


def _require(wanted: DataSet, stream: Any, column: str) -> list[str]:
    names = stream.column_names
    if names is None:
        first = _loaded(wanted, lambda: next(iter(stream), None))
        names = [] if first is None else list(first)
        if first is None:
            return []
    if column not in names:
        raise UsageError(f"{wanted} has no column `{column}` (it has {', '.join(names) or 'none'})")
    return list(names)


def _loaded(wanted: DataSet, load: Callable[[], Any]) -> Any:
    return hub_access.loaded(
        hub_access.Wanted(
            str(wanted), "data files that `datasets` reads", "download the data set and name its folder as `path`",
            wanted.path is None, wanted.revision,
        ), load,
    )  # fmt: skip
