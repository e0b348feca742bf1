"""Rejections on the way to their files, in bounded memory: what is too much waits in a temporary file."""

from __future__ import annotations

import pickle
import tempfile
import zlib
from collections.abc import Iterator
from typing import IO

from neglabel import NeglabelError
from neglabel.corpora import Rejection


class Spill:
    """Rejections in the order met; at most ``size`` of them in memory.

    The file lies where the operating system puts temporary files (``TMPDIR``), about 20 bytes a rejection, and is gone
    with the process.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._last: list[Rejection] = []
        self._file: IO[bytes] | None = None
        #: Bytes of each block of ``size`` rejections that waits in the file.
        self._blocks: list[int] = []

    def append(self, rejection: Rejection) -> None:
        self._last.append(rejection)
        if len(self._last) == self.size:
            self._store()

    @property
    def has_blocks(self) -> bool:
        return bool(self._blocks)

    def blocks(self) -> Iterator[list[Rejection]]:
        """The rejections in lists of ``size``, as far as they fill one; they are taken out."""
        lengths, self._blocks = self._blocks, []
        if self._file is None:
            return
        with self._file as file:
            self._file = None
            file.seek(0)
            for length in lengths:
                # Our own file, without a name: nobody else can have written what is unpickled.
                yield [Rejection(*row) for row in pickle.loads(zlib.decompress(file.read(length)))]

    def rest(self) -> list[Rejection]:
        """Those that fill no block; they are taken out."""
        last, self._last = self._last, []
        return last

    def _store(self) -> None:
        rows, self._last = self._last, []
        data = zlib.compress(pickle.dumps([tuple(row) for row in rows], pickle.HIGHEST_PROTOCOL), 1)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 — lives as long as this object
            self._file.write(data)
        except OSError as error:
            raise NeglabelError(
                f"rejected words can't be kept in a temporary file ({error.strerror}); free space in "
                f"{tempfile.gettempdir()}, or set TMPDIR"
            ) from None
        self._blocks.append(len(data))
