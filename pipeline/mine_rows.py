"""The second pass of ``mine``: which rows are kept, the farthest or, for a baseline, random ones."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel.pipeline.candidates import Stores
from neglabel.pipeline.choose_rows import Selection, take_text
from neglabel.pipeline.labels import Labels
from neglabel.pipeline.mine_blocks import ZeroLength, read_rows, refuse, search_rows
from neglabel.pipeline.mine_files import FileTask, SpreadFiles, record_of, tops
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.mine_sizes import draw, ends
from neglabel.pipeline.mine_work import Record, Work
from neglabel.pipeline.mined import Mined
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.search import EDGES, Search
from neglabel.pipeline.search_device import on_gpu
from neglabel.pipeline.search_ends import both_ends


class LabelSet(NamedTuple):
    """One label set's part of a run."""

    labels: Labels
    selection: Selection
    sizes: Sequence[int]


def best_rows(
    settings: MineSettings,
    stores: Stores,
    sets: Sequence[LabelSet],
    percentile: float,
    near_last: float | None,
    work: Work,
    reporter: Reporter,
    spread_files: SpreadFiles | None = None,
) -> list[Mined]:
    """The second pass, once for all label sets: reads the embeddings of what ``work`` doesn't know yet.

    Args:
        near_last: see :class:`~neglabel.pipeline.search.Search`.
        spread_files: does the files elsewhere (:mod:`neglabel.pipeline.mine_ray`); None: here, one after the other.
    """
    drawn = [None if settings.random is None else draw(settings.random, each.selection, each.sizes) for each in sets]
    # Of a random baseline nothing is kept: what is drawn depends on all candidates.
    keep = work if settings.random is None else Work(None, stores)
    keys = [
        [keep.key(n, one.selection, one.labels.embedding, percentile, near_last) for n in range(len(stores.files))]
        if keep.folder else []
        for one in sets
    ]  # fmt: skip
    outdated: set[tuple[int, int]] = set()
    while True:
        searches = []
        for each, lots in zip(sets, drawn, strict=True):
            vectors = each.labels.embedding
            far, low = ends(each.sizes, settings.both_ends and lots is None)
            index = None if spread_files else on_gpu(vectors, percentile, settings.device)
            searches.append(Search(vectors, percentile, far, index, lots, lowest=low, near_last=near_last))
        pass_ = _Pass(stores, sets, searches, keep, keys)
        pass_.recall(outdated)
        pass_.run(reporter, spread_files, drawn)
        # More may be asked for than before, or candidates may be gone: then less was kept of a file than is needed.
        short = {
            (which, number)
            for which, records in enumerate(pass_.recalled)
            for number, record in records.items()
            if not record.holds(searches[which])
        }
        if not short:
            return [pass_.mined(which, lots) for which, lots in enumerate(drawn)]
        outdated |= short


class _Pass:
    """One pass over the files."""

    def __init__(
        self, stores: Stores, sets: Sequence[LabelSet], searches: Sequence[Search], work: Work,
        keys: Sequence[Sequence[str]],
    ) -> None:  # fmt: skip
        self.stores, self.sets, self.searches, self.work, self.keys = stores, sets, searches, work, keys
        self.ends = np.cumsum([len(keep) for keep in sets[0].selection.keep])
        self.recalled: list[dict[int, Record]] = [{} for _ in sets]
        self.text: list[dict[int, tuple[NDArray[np.int64], pa.Table]]] = [{} for _ in sets]

    def _start(self, number: int) -> int:
        return int(self.ends[number - 1]) if number else 0

    def recall(self, outdated: Set[tuple[int, int]]) -> None:
        """Offer what is kept of earlier runs."""
        for which, search in enumerate(self.searches):
            for number, key in enumerate(self.keys[which]):
                record = None if (which, number) in outdated else self.work.load(number, key)
                if record is None or len(record.bounds) != len(search.best) + 1:
                    continue
                self.recalled[which][number] = record
                self.text[which][number] = record.text
                search.recall(record.rows, self._start(number), record.histogram)

    def run(
        self, reporter: Reporter, spread_files: SpreadFiles | None, drawn: Sequence[NDArray[np.int64] | None]
    ) -> None:
        """Read and search the other files."""
        files = range(len(self.stores.files))
        missing = [{n for n in files if n not in recalled} for recalled in self.recalled]
        if spread_files is not None:
            asked = (self._task(number, missing, drawn) for number in files if any(number in some for some in missing))
            rows = sum(len(self.sets[0].selection.keep[n]) for n in set().union(*missing))
            found = spread_files(asked)
            for number, records in reporter.track(found, "mine", rows, "candidates", size=self._size_of):
                for which, record in records.items():
                    self._merge(which, number, record)
            return
        blocks = read_rows(self.stores.files, [each.selection for each in self.sets], missing)
        counted = [np.zeros(len(EDGES) - 1, np.int64) for _ in self.sets]
        left = [
            sum(int(each.selection.keep[n].sum()) for n in some) for each, some in zip(self.sets, missing, strict=True)
        ]
        searched = search_rows(blocks, self.searches)
        try:
            for block, histograms in reporter.track(
                searched, "mine", max(left), "candidates", size=lambda pair: len(pair[0].position)
            ):
                for total_, histogram in zip(counted, histograms, strict=True):
                    total_ += histogram
                if block.last:
                    for which, files_left in enumerate(missing):
                        if block.file in files_left and self.work.folder is not None:
                            self._keep(which, block.file, counted[which].copy())
                        counted[which][:] = 0
        except ZeroLength as error:
            refuse(self.stores.files[error.args[0]])

    def _size_of(self, found: tuple[int, Any]) -> int:
        return len(self.sets[0].selection.keep[found[0]])

    def _task(
        self, number: int, missing: Sequence[Set[int]], drawn: Sequence[NDArray[np.int64] | None]
    ) -> FileTask:
        rows = slice(self._start(number), int(self.ends[number]))
        selections = {
            which: (each.selection.keep[number], each.selection.groups[number], None if lots is None else lots[rows])
            for which, (each, files, lots) in enumerate(zip(self.sets, missing, drawn, strict=True))
            if number in files
        }
        # No row below what is reached by now can be among the best: most of a file need not be measured, nor sent.
        bounds = {which: [best.bound for best in tops(self.searches[which])] for which in selections}
        return FileTask(number, self.stores.files[number], selections, bounds)

    def _merge(self, which: int, number: int, record: Record) -> None:
        """A file's record as from an earlier run; but it was made for this one, so it suffices."""
        self.searches[which].recall(record.rows, self._start(number), record.histogram)
        for best in tops(self.searches[which]):
            best.result()  # ranked: the bound rises
        self.text[which][number] = record.text
        if self.work.folder is not None:
            self.work.save(number, self.keys[which][number], record)

    def _keep(self, which: int, number: int, histogram: NDArray[np.int64]) -> None:
        record = record_of(self.stores, self.sets[which].selection, self.searches[which], self._start(number),
                           int(self.ends[number]), histogram)  # fmt: skip
        self.text[which][number] = record.text
        self.work.save(number, self.keys[which][number], record)

    def mined(self, which: int, drawn: NDArray[np.int64] | None) -> Mined:
        """What the search of a label set came to."""
        groups = [best.result() for best in self.searches[which].best]
        if self.searches[which].low:
            groups = both_ends(groups, self.searches[which].low)
        if drawn is not None:
            orders = [np.argsort(drawn[rows["position"]]) if rows else None for rows in groups]
            groups = [
                {name: values[order] for name, values in rows.items()}
                for rows, order in zip(groups, orders, strict=True)
            ]
        near = self.searches[which].near.result()
        selection, known = self.sets[which].selection, self.text[which]
        return Mined(groups, self.searches[which].histogram, near,
                     lambda positions: take_text(self.stores, selection, positions, known))  # fmt: skip
