"""Whether a file is what a manifest recorded: the check that resuming rests on."""

from __future__ import annotations

from neglabel import NeglabelError
from neglabel.corpora.storage import StorageError
from neglabel.corpora.uri import Location
from neglabel.pipeline.files import sha256
from neglabel.pipeline.store import open_parquet


def flaw_of(path: Location, rows: int, digest: str) -> str | None:
    """Why a recorded Parquet file can't be kept: missing, truncated, altered; None where it is whole.

    Args:
        rows, digest: its number of rows and SHA-256 as recorded.
    """
    if not path.is_file():
        return f"{path.name} is missing"
    try:
        found = open_parquet(path).metadata.num_rows
    except StorageError:
        raise  # that it can't be reached says nothing of it
    except NeglabelError:
        return f"{path.name} is truncated or no Parquet"
    if found != rows:
        return f"{path.name} has {found:,} rows instead of {rows:,}"
    if sha256(path) != digest:
        return f"{path.name} was altered (checksum)"
    return None
