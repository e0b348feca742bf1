"""The rows of ``gpu.py``: open_clip's ``encode_text``, our tower, and the stage `encode` from end to end."""

from __future__ import annotations

import copy
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.nn import functional as F

from neglabel.pipeline.encode import encode
from neglabel.pipeline.models import load_model
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.text_encoder import TextEncoder
from neglabel.pipeline.tokens import Tokens

CUDA = torch.cuda.is_available()
#: Rows of a shard, `encode`'s default.
SHARD = 65_536


@dataclass
class Row:
    """A line of the table; ``flops`` of the matrix products of one run."""

    name: str
    count: int
    flops: float = 0.0
    peak: float = 0.0
    note: str = ""
    seconds: list[float] = field(default_factory=list)

    def show(self, base: float) -> str:
        took = statistics.median(self.seconds)
        share = f"{self.flops / took / self.peak:7.1%}" if self.flops and self.peak else f"{'':7}"
        ratio = f"{self.count / took / base:8.2f}" if base else f"{'':8}"
        return f"{self.name:46} {self.count:>9,} {took:9.3f} {self.count / took:12,.0f} {ratio} {share}  {self.note}"


def timed(run: Callable[[], Any], repeats: int) -> list[float]:
    found = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        run()
        wait()
        found.append(time.perf_counter() - start)
    return found


def wait() -> None:
    if CUDA:
        torch.cuda.synchronize()


def peak(dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a product of random square matrices, the median of ten after two."""
    a, b = (torch.randn(size, size, device="cuda" if CUDA else "cpu").to(dtype) for _ in range(2))
    return 2.0 * size**3 / statistics.median(timed(lambda: a @ b, 12)[2:])


def padded(loaded: Any, ids: Any, peak_rate: float, repeats: int, batches: Sequence[int]) -> tuple[Row, Any]:
    """``open_clip.encode_text`` on padded ids that are on the device, embeddings to the CPU, at its best batch."""
    width, layers, context = _shape(loaded.model)
    ids = torch.from_numpy(ids).to(loaded.device)

    @torch.inference_mode()
    def run(batch: int) -> Any:
        return torch.cat([F.normalize(loaded.model.encode_text(b).float(), dim=-1) for b in ids.split(batch)]).cpu()

    speed = {batch: min(timed(lambda batch=batch: run(batch), 2)) for batch in batches}  # type: ignore[misc]
    batch = min(speed, key=speed.__getitem__)
    row = Row(f"open_clip.encode_text, {loaded.precision}, batch {batch}", len(ids), peak=peak_rate)
    row.flops = 2.0 * 12 * width * width * layers * context * len(ids)
    row.seconds = timed(lambda: run(batch), repeats)
    return row, run(batch).numpy()


def ours(
    loaded: Any, prompts: list[str], peak_rate: float, repeats: int, theirs: Any, tokenising: int
) -> Iterator[Row]:
    """Our rows: the tower from ids, and so many rounds with tokenising by a tokenizer that has met nothing yet."""
    encoder = TextEncoder.of(loaded)
    # Prefixes are shared within a shard, as in `encode`.
    shards = [slice(i, i + SHARD) for i in range(0, len(prompts), SHARD)]
    tokenised = [encoder.tokenise(prompts[shard]) for shard in shards]
    found = np.empty((len(prompts), theirs.shape[1]), np.float32)

    def tower() -> None:
        for shard, part in zip(shards, tokenised, strict=True):
            for rows, block in encoder.batches(part):
                found[shard][rows] = block

    tower()
    closest = float((found[: len(theirs)] * theirs).sum(axis=1).min())
    nodes = sum(int((t.sequences.lengths - t.sequences.shared).sum()) for t in tokenised)
    tokens, ends = (sum(f(t.sequences.lengths) for t in tokenised) for f in (np.sum, len))
    width, layers, context = _shape(loaded.model)
    # As many prefixes as one tree a shard has; batches repeat the few that lie across their bounds.
    flops = 2.0 * width * width * (nodes * (12 * (layers - 1) + 2) + ends * 10)
    note = f"{nodes / len(prompts):.2f} of {tokens / ends:.2f} tokens a title; cosine ≥ {closest:.5f}"
    name, n = f"ours, {loaded.precision}", len(prompts)
    yield Row(f"{name}: tower", n, flops, peak_rate, f"{encoder.path}; {note}", timed(tower, repeats))
    if CUDA:
        yield Row(f"{name}: kernels alone", n, flops, peak_rate, "", [kernels(tower)])
    if not tokenising:
        return
    # A tokenizer remembers words, so each round gets one that has met nothing but the probes of the start.
    alone, both = [], []
    for _ in range(tokenising):
        words = Tokens(copy.deepcopy(loaded.tokenizer), context)
        alone += timed(lambda: [words.encode(prompts[shard]) for shard in shards], 1)  # noqa: B023
        fresh = TextEncoder(loaded.model, copy.deepcopy(loaded.tokenizer))
        assert fresh.path == encoder.path
        both += timed(lambda: [fresh.encode(prompts[shard]) for shard in shards], 1)  # noqa: B023
    yield Row(f"{name}: tokenising alone, cold", n, seconds=alone)
    yield Row(f"{name}: with tokenising, cold", n, flops, peak_rate, "", both)


def kernels(run: Callable[[], Any]) -> float:
    """Seconds in which the device worked: the sum of its kernels' times in one run."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as found:
        run()
        wait()
    table = found.key_averages()
    for event in sorted(table, key=lambda e: -e.self_device_time_total)[:12]:
        print(f"    {event.self_device_time_total / 1e6:8.4f} s {event.count:6}x {event.key[:100]}", file=sys.stderr)
    return float(sum(event.self_device_time_total for event in table) / 1e6)


def peer_end_to_end(loaded: Any, text: Path, count: int, batch: int) -> Iterator[Row]:
    """open_clip from the text file to Parquet, as its users write it: its tokenizer, ``encode_text``, a file a shard.

    The first ``count`` lines; the tokenizer has met nothing.
    """
    titles = text.read_text(encoding="utf-8").split("\n")[:count]
    tokenizer = copy.deepcopy(loaded.tokenizer)

    @torch.inference_mode()
    def run() -> None:
        for start in range(0, len(titles), SHARD):
            shard, found = titles[start : start + SHARD], []
            for at in range(0, len(shard), batch):
                ids = tokenizer([f"the nice {title}" for title in shard[at : at + batch]]).to(loaded.device)
                found.append(F.normalize(loaded.model.encode_text(ids).float(), dim=-1).half().cpu().numpy())
            column = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(found).reshape(-1)), found[0].shape[1])
            pq.write_table(pa.table({"text": shard, "embedding": column}), text.parent / f"peer-{start}.parquet")

    yield Row(f"open_clip, {loaded.precision}: text file to Parquet", len(titles), seconds=timed(run, 1))


def end_to_end(model: Path, text: Path, count: int, precision: str, repeats: int, commands: int) -> Iterator[Row]:
    """The stage, here and as a command, from the text file to Parquet."""
    loading = timed(lambda: load_model(str(model), precision=precision), 2)[1]
    inside, outside, notes = [], [], []
    for number in range(repeats):
        for where in (inside, outside) if number < commands else (inside,):
            out = model.parent / f"store-{precision}-{number}-{len(where)}-{where is inside}"
            start = time.perf_counter()
            if where is inside:
                settings = EncodeSettings(corpus=(str(text),), out=out, model=str(model), precision=precision)
                summary = encode(settings, Reporter(quiet=True))
                notes.append(", ".join(f"{step} {spent:.1f}" for step, spent in summary.get("time", {}).items()))
                assert summary["encoded"] == count, summary["counts"]
            else:
                command = [sys.executable, "-c", "from neglabel.cli import main; main()", "encode", str(text)]
                options = ["--out", str(out), "--model", str(model), "--precision", precision, "--quiet"]
                subprocess.run([*command, *options], check=True)
            where.append(time.perf_counter() - start)
            shutil.rmtree(out)
    name = f"ours, {precision}: end to end"
    yield Row(f"{name}, less loading the model", count, note=notes[-1], seconds=[s - loading for s in inside])
    yield Row(f"{name}, in this process", count, note=f"loading {loading:.1f} s", seconds=inside)
    yield Row(f"{name}, as a command", count, seconds=outside)


def _shape(model: Any) -> tuple[int, int, int]:
    return model.token_embedding.embedding_dim, len(model.transformer.resblocks), model.context_length
