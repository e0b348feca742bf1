"""What a Parquet file claims to hold against what it can: before memory is taken for it."""

from __future__ import annotations

import pyarrow.parquet as pq

#: Of text or numbers that are worth keeping, zstd makes some tenth. What claims to have been made smaller than this is
#: a bomb or damaged; below the floor it does no harm.
RATIO, FLOOR = 200, 64 << 20
#: Rows that a byte of the file may stand for (equal values are counted, not repeated), and rows that do no harm.
ROWS, FEW = 8, 100_000
#: Rows read at a time of a row group that has more of them.
BATCH = 65_536


def flaw(metadata: pq.FileMetaData, size: int) -> str | None:
    """Why a file of ``size`` bytes can't hold what its footer says; None where it can."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    rows, claimed = sum(group.num_rows for group in groups), sum(group.total_byte_size for group in groups)
    if any(group.num_rows < 0 or group.total_byte_size < 0 for group in groups) or rows != metadata.num_rows:
        return "its footer contradicts itself"
    if rows > FEW and rows > ROWS * size:
        return f"it says {rows:,} rows in {size:,} bytes"
    if claimed > FLOOR and claimed > RATIO * size:
        return f"it says {claimed:,} bytes in {size:,}"
    return None
