"""Decoding against the image tower, side by side in one run: which of the two is the bottleneck.

    python benchmarks/images.py [--tower 32] [--repeats 5] [--device cpu] [--threads 2] [--json images.json]

The photos of ``../shared/data``, else JPEGs of that size with noise; towers with random weights (speed doesn't depend
on them). Every repeat runs every row once; the figures are medians. `CPU ms` is processor time of the whole process a
picture: on a machine shared with other work it says more than the wall clock (of worker processes, and of a GPU, it
says nothing). `closest` is the smallest cosine to the first tower row of that model.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

from neglabel.indexes.cores import cores
from neglabel.pipeline.image_encoder import ImageEncoder
from neglabel.pipeline.image_tower import ImageTower
from neglabel.pipeline.images import decode

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "photos"
#: The first is the one that is asked about.
MODELS = ("ViT-B-16", "RN50")
preprocess = open_clip.transform.image_transform(224, is_train=False)


@dataclass
class Row:
    """One line: ``run`` handles ``count`` pictures; of a tower it returns their unit vectors."""

    name: str
    count: int
    run: Callable[[], Any]
    #: The first tower row of the same model.
    exact: Row | None = None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    found: Any = None


def load(file: Path) -> Any:
    """What a worker does: a file → pixels."""
    return preprocess(decode(file))


def photos(stack: ExitStack) -> tuple[str, list[Path]]:
    if files := sorted(PHOTOS.glob("*.JPEG")):
        return f"{len(files)} photos", files
    rng, folder = np.random.default_rng(0), Path(stack.enter_context(TemporaryDirectory()))
    for i in range(100):
        noise = Image.fromarray(rng.integers(0, 255, (94, 125, 3), np.uint8)).resize((500, 375))
        noise.save(folder / f"{i}.jpg", quality=90)
    return "100 generated JPEGs", sorted(folder.iterdir())


def decoding(files: list[Path], stack: ExitStack) -> Iterator[Row]:
    for workers in sorted({1, 2, 4, cores()}):
        threads = stack.enter_context(ThreadPoolExecutor(workers))
        yield Row(f"decode, {workers} thread{'s' * (workers > 1)}", len(files),
                  lambda pool=threads: list(pool.map(load, files)) and None)  # fmt: skip
    processes = stack.enter_context(ProcessPoolExecutor(cores(), mp_context=get_context("spawn")))
    list(processes.map(load, files[: 4 * cores()]))  # started, imports done
    yield Row(f"decode, {cores()} processes", len(files),
              lambda: list(processes.map(load, files, chunksize=4)) and None)  # fmt: skip


def towers(pixels: list[torch.Tensor], device: torch.device, files: list[Path]) -> Iterator[Row]:
    for name in MODELS:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = open_clip.create_model(name, load_weights=False).eval().requires_grad_(False).to(device)
        layout = deepcopy(model).to(memory_format=torch.channels_last)
        yield (exact := Row(f"{name} tower, fp32", len(pixels), whole(model, device, "fp32", pixels)))
        yield Row(f"{name} tower, fp32, channels_last", len(pixels), whole(layout, device, "fp32", pixels), exact)
        for half in ("bf16", "fp16") if device.type == "cuda" else ("bf16",):
            yield Row(f"{name} tower, {half}", len(pixels), whole(model, device, half, pixels), exact)
        if name != MODELS[0]:
            continue
        some = files if device.type == "cuda" else files[: len(pixels)]
        for workers in sorted({1, cores()}):
            encoder = ImageEncoder(model, preprocess, device, len(pixels), workers)
            yield Row(f"{name} encoder, {workers} worker{'s' * (workers > 1)}", len(some),
                      lambda encoder=encoder, some=some: encoder.encode(some), exact)  # fmt: skip


def whole(model: Any, device: torch.device, precision: str, pixels: list[torch.Tensor]) -> Any:
    tower = ImageTower(model, device, precision, print)
    tower._checked = True  # the cosine is in the table
    return lambda: tower.unit(pixels).cpu().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tower", type=int, default=32, help="pictures a forward pass")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; default: its own choice")
    parser.add_argument("--json", type=Path, default=Path("images.json"))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with ExitStack() as stack:
        what, files = photos(stack)
        pixels = [load(file) for file in files[: options.tower]]
        rows = [*decoding(files, stack), *towers(pixels, torch.device(options.device), files)]
        for row in rows:
            if "decode" not in row.name and options.device != "cpu":
                row.run()  # kernels are chosen at the first call
        for _ in range(options.repeats):
            for row in rows:
                wall, cpu = time.perf_counter(), time.process_time()
                row.found = row.run()
                row.wall.append(time.perf_counter() - wall)
                row.cpu.append(time.process_time() - cpu)
    report(rows, what, options)


def report(rows: list[Row], what: str, options: argparse.Namespace) -> None:
    """Print the table and write it as JSON."""
    place = torch.cuda.get_device_name() if options.device != "cpu" else platform.processor() or platform.machine()
    machine = f"{place}, {cores()} cores, {torch.get_num_threads()} torch threads, torch {torch.__version__}"
    print(f"{date.today()}, {machine}; {what}; {options.tower} a forward pass; medians of {options.repeats}\n")
    print("| what | pictures/s | CPU ms a picture | closest |\n| --- | --- | --- | --- |")
    table = []
    for row in rows:
        speed, cpu = row.count / statistics.median(row.wall), 1e3 * statistics.median(row.cpu) / row.count
        same = 0 if row.exact is None else len(row.exact.found)
        closest = float((row.found[:same] * row.exact.found).sum(axis=1).min()) if row.exact else None
        table.append({"name": row.name, "pictures": row.count, "pictures_per_second": speed, "cpu_ms": cpu,
                      "closest": closest, "wall": row.wall, "cpu": row.cpu})  # fmt: skip
        print(f"| {row.name} | {speed:.1f} | {cpu:.1f} | {'' if closest is None else f'{closest:.7f}'} |")
    result = {"date": str(date.today()), "machine": machine, "pictures": what, "rows": table}
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
