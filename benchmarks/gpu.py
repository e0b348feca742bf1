"""A million titles on a GPU, and mining there, side by side with open_clip and PyTorch in one run. One command:

    python benchmarks/gpu.py [--titles 1000000] [--from FILE ...] [--part encode|search|all] [--quick] [--json gpu.json]

ViT-B-16 with random weights. `encode_text` gets a sample of the prompts, padded, at its best batch; `tower` is ours
from token ids to embeddings in the CPU's memory; `end to end` is the stage `encode` from a text file to Parquet.
`of peak`: FLOPs of the matrix products over the rate that the card reached for 8192³ products of random numbers in this
run. `--quick` runs a few titles on whatever there is, to try the script. Parts in ``gpu_titles.py``, ``gpu_search.py``.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_search import search_rows
from gpu_titles import titles
from torch.nn import functional as F

from neglabel.pipeline.encode import encode
from neglabel.pipeline.models import load_model
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.text_encoder import TextEncoder

NAME, PROMPT = "ViT-B-16-quickgelu", "the nice {}"
DTYPES = {"fp16": torch.float16, "fp32": torch.float32, "bf16": torch.bfloat16}
CUDA = torch.cuda.is_available()


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


def model_folder(folder: Path) -> Path:
    """A folder of the model with random weights, as `encode` takes it."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = open_clip.create_model(NAME, load_weights=False)
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config(NAME), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


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


def ours(loaded: Any, prompts: list[str], peak_rate: float, repeats: int, theirs: Any) -> list[Row]:
    """Our rows: the tower from ids, and with tokenising by a tokenizer that has met nothing yet."""
    encoder = TextEncoder.of(loaded)
    tokenised = encoder.tokenise(prompts)
    found = np.empty((len(prompts), theirs.shape[1]), np.float32)

    def tower() -> None:
        for rows, block in encoder.batches(tokenised):
            found[rows] = block

    tower()
    closest = float((found[: len(theirs)] * theirs).sum(axis=1).min())
    sequences = tokenised.sequences
    nodes, ends = int((sequences.lengths - sequences.shared).sum()), len(sequences.lengths)
    width, layers, _ = _shape(loaded.model)
    # As many prefixes as there are without the ends of batches, which repeat a path each.
    flops = 2.0 * width * width * (nodes * (12 * (layers - 1) + 2) + ends * 10)
    note = f"{nodes / len(prompts):.2f} of {sequences.lengths.mean():.2f} tokens a title; cosine ≥ {closest:.5f}"
    name = f"ours, {loaded.precision}"
    rows = [Row(f"{name}: tower", len(prompts), flops, peak_rate, f"{encoder.path}; {note}", timed(tower, repeats))]
    if CUDA:
        rows.append(Row(f"{name}: kernels alone", len(prompts), flops, peak_rate, seconds=[kernels(tower)]))

    def cold() -> None:
        # A tokenizer of its own: it remembers words.
        TextEncoder(loaded.model, copy.deepcopy(loaded.tokenizer)).tokenise(prompts)

    def both() -> None:
        fresh = TextEncoder(loaded.model, copy.deepcopy(loaded.tokenizer))
        fresh.encode(prompts)

    rows.append(Row(f"{name}: tokenising alone, cold", len(prompts), seconds=timed(cold, min(repeats, 3))))
    rows.append(Row(f"{name}: with tokenising, cold", len(prompts), flops, peak_rate, seconds=timed(both, repeats)))
    return rows


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


def end_to_end(model: Path, text: Path, count: int, precision: str, repeats: int) -> list[Row]:
    """The stage, here and as a command, from the text file to Parquet."""
    loading = timed(lambda: load_model(str(model), precision=precision), 2)[1]
    inside, outside, notes = [], [], []
    for number in range(repeats):
        for where in (inside, outside):
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
    return [
        Row(f"{name}, less loading the model", count, note=notes[-1], seconds=[s - loading for s in inside]),
        Row(f"{name}, in this process", count, note=f"loading {loading:.1f} s", seconds=inside),
        Row(f"{name}, as a command", count, seconds=outside),
    ]


def _shape(model: Any) -> tuple[int, int, int]:
    return model.token_embedding.embedding_dim, len(model.transformer.resblocks), model.context_length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", type=int, default=1_000_000)
    parser.add_argument("--from", type=Path, nargs="*", default=[], dest="files", help="files of titles, one a line")
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=["fp16", "bf16", "fp32"])
    parser.add_argument("--part", choices=["encode", "search", "all"], default="all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    quick, repeats = options.quick, 2 if options.quick else options.repeats
    count = 300 if quick else options.titles
    card = torch.cuda.get_device_name() if CUDA else "no GPU: this tries the script"
    result: dict[str, Any] = {"date": str(date.today()), "device": card, "torch": torch.__version__}
    print(f"{result['date']}, {card}, torch {torch.__version__}")
    if options.part != "search":
        result |= encode_part(options, count, repeats, quick)
    if options.part != "encode":
        result["search"] = search_rows(quick, repeats)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def encode_part(options: Any, count: int, repeats: int, quick: bool) -> dict[str, Any]:
    made, how = titles(count, options.files)
    prompts = [PROMPT.format(title) for title in made]
    result: dict[str, Any] = {"titles": how, "peaks": {}, "rows": []}
    precisions = options.precisions if CUDA else ["fp32"]
    print(f"titles: {how}\n{'':46} {'prompts':>9} {'seconds':>9} {'prompts/s':>12} {'ratio':>8} {'of peak':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        model, text = model_folder(Path(scratch) / "model"), Path(scratch) / "titles.txt"
        text.write_text("\n".join(made) + "\n", encoding="utf-8")
        for number, precision in enumerate(precisions):
            rate = peak(DTYPES[precision], 512 if quick else 8192)
            result["peaks"][precision] = rate
            print(f"products, {precision}: {rate / 1e12:.1f} TFLOP/s")
            loaded = load_model(str(model), precision=precision)
            few = 32 if quick else 16_384 if precision != "fp32" else 4_096
            batches = (16, 32) if quick else (256, 512, 1024, 2048, 4096)
            peer, theirs = padded(loaded, loaded.tokenizer(prompts[:few]).numpy(), rate, repeats, batches)
            some = prompts if number == 0 else prompts[: max(count // 4, few)]
            rows = [peer, *ours(loaded, some, rate, repeats if number else min(repeats, 5), theirs)]
            if number == 0:
                rows += end_to_end(model, text, count, precision, 2 if quick else 3)
            base = peer.count / statistics.median(peer.seconds)
            for row in rows:
                print(row.show(base), flush=True)
                ratio = row.count / statistics.median(row.seconds) / base
                result["rows"].append({**asdict(row), "ratio": ratio})
            del loaded
    return result


if __name__ == "__main__":
    main()
