"""On a CUDA device: FAISS beside PyTorch, mining, pictures and the embedded world as on the CPU. Skipped elsewhere."""

from __future__ import annotations

import copy
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from neglabel.indexes.device import GPU_MAX_K
from neglabel.indexes.percentile import PercentileIndex
from neglabel.pipeline.image_encoder import ImageEncoder
from neglabel.pipeline.mine import select
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.quickstart import ID, run_toml, unpack
from neglabel.pipeline.run import claim, run_file
from neglabel.pipeline.run_settings import QuickstartSettings

from .on_gpu import device as device
from .on_gpu import needs_gpu

pytestmark = needs_gpu


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


ONE_PROCESS = """
import json, sys
device = sys.argv[1]
{imports}
import numpy as np
from neglabel.indexes.device import flat_ip, is_gpu
rng = np.random.default_rng(0)
a, b = (rng.normal(size=(n, 256)) for n in (3000, 500))
a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
want = a @ b.T
index = flat_ip(b.astype(np.float32), device)
off = []
for turn in range(4):
    rows = slice(turn * 700, turn * 700 + 700)
    left, right = (torch.from_numpy(x.astype(np.float32)).to(device) for x in (a[rows], b))
    product = left @ right.T
    off.append(["torch", float(np.abs(product.cpu().numpy() - want[rows]).max())])
    near, which = index.search(a[rows].astype(np.float32), 60)
    off.append(["faiss", float(np.abs(near + np.sort(-want[rows])[:, :60]).max())])
    off.append(["found", float(np.abs(np.take_along_axis(want[rows], which, 1) - near).max())])
with open("/proc/self/maps") as maps:
    loaded = sorted({{line.split("/")[-1].strip() for line in maps if "libcudart" in line or "libcublas" in line}})
print(json.dumps({{"off": off, "gpu": is_gpu(index), "loaded": loaded}}))
"""


@pytest.mark.parametrize("imports", ["import torch, faiss", "import faiss, torch"])
def test_torch_and_faiss_share_a_process(device: str, imports: str) -> None:
    """PyTorch brings CUDA 13, faiss-gpu CUDA 12: both at work in turns, whichever came first."""
    code = ONE_PROCESS.format(imports=imports)
    result = subprocess.run([sys.executable, "-c", code, device], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    print(found)
    assert found["gpu"] == (device == "cuda")
    # As many products as γ_D allows in the worst case; TF32 would be off by 1e-4.
    assert len(found["off"]) == 12
    assert max(off for _, off in found["off"]) <= 256 * 2**-24, found


@pytest.mark.parametrize("labels", [1, 19, 20, 21, 1_000, 5_000])
def test_mining_selects_the_same(device: str, labels: int) -> None:
    rng = np.random.default_rng(labels)
    c = rng.normal(size=(20_000, 64)).astype(np.float16)
    c[300:340] = c[:40]  # exact ties
    e = rng.normal(size=(labels, 64)).astype(np.float32)
    for eta in (0, 0.05, 0.5, 1):
        index = PercentileIndex(unit(e), eta, device)  # type: ignore[arg-type]
        assert index.on_gpu == (device == "cuda" and index.k <= GPU_MAX_K)
        some = unit(c[:2_000].astype(np.float64))
        want = np.percentile(-(some @ unit(e.astype(np.float64)).T), 100 * eta, axis=1)
        off = np.abs(index.distances(some.astype(np.float32)) - want).max()
        print(f"K {labels}, η {eta}: k {index.k}, on the {'GPU' if index.on_gpu else 'CPU'}, off by {off:.1e}")
        assert off <= index.error_bound
        there, here = (select(c, e, eta, 1_000, where) for where in (device, "cpu"))  # type: ignore[arg-type]
        np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("vision", [
    {"layers": [1, 1, 1, 1], "width": 16, "image_size": 48, "head_width": 16},
    {"layers": 3, "width": 64, "head_width": 16, "patch_size": 16, "image_size": 64},
], ids=["ResNet", "ViT"])  # fmt: skip
def test_pictures(device: str, vision: dict[str, Any]) -> None:
    torch.manual_seed(0)
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    model = open_clip.model.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text).eval()
    preprocess = open_clip.transform.image_transform(vision["image_size"], is_train=False)
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (*rng.integers(20, 90, 2), 3), np.uint8)) for _ in range(50)]
    here = ImageEncoder(model, preprocess, batch_size=16).encode(images)
    there = ImageEncoder(copy.deepcopy(model).to(device), preprocess, batch_size=7).encode(images)
    print(f"off by {np.abs(there - here).max():.1e}")
    assert np.abs(there - here).max() <= 2e-5


def test_the_embedded_world_gives_the_same_words_and_figures(device: str, tmp_path: Path) -> None:
    found: dict[int, tuple[set[str], dict[tuple[str, str], float]]] = {}
    for where in (device, "cpu"):
        out = tmp_path / f"on-{where}-{len(found)}"
        claim(out)
        unpack(out)
        file = out / "run.toml"
        # float32, so that no rounding to float16 stands between the two.
        options = f'device = "{where}"\nencode = {{ storage = "float32" }}\n'
        file.write_text(options + run_toml(QuickstartSettings(out=out, seeds=0)))
        summary = run_file(file, Reporter(quiet=True))
        words = pq.read_table(out / "negatives.parquet")["text"].to_pylist()
        with open(out / "report" / "metrics.csv", newline="") as rows:
            auroc = {(r["score"], r["ood"]): float(r["auroc"]) for r in csv.DictReader(rows)}
        found[len(found)] = (set(words), auroc)
        assert summary["score"]["device"].startswith(where)
        assert len(words) == 10_000
    (there, auroc), (here, expected) = found.values()
    print(f"{len(there - here)} of {len(here):,} words differ")
    # Two words whose distances differ by less than the embeddings' rounding may change places at the cut.
    assert len(there - here) <= 2
    assert auroc.keys() == expected.keys()
    assert ("neglabel", "average") in auroc
    assert ID not in {ood for _, ood in auroc}
    assert max(abs(auroc[key] - expected[key]) for key in expected) <= 0.05
