"""Writes what the package ships, in open_clip's own format.

    open_clip_config.json, open_clip_model.safetensors (matrices in float16), bpe.txt.gz
    pictures.zip   the test artist's pictures: SET/CLASS/noto.png, SET/CLASS/noto-v1.png,
                   labels/SET.txt, CREDITS.txt

Every file is written beside its place and moved there, so a reader never meets half of one.  The
zip is the same at every run: sorted names, one fixed time.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import zipfile
from pathlib import Path

import common
import model
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

CREDITS = """Pictures: Noto Emoji, Copyright Google Inc.
https://github.com/googlefonts/noto-emoji
Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
noto.png is the current drawing, noto-v1.png the one of the first version.  SVG files as packed by
Iconify (@iconify-json/noto {noto}, @iconify-json/noto-v1 {v1}); changed: rendered at 64 x 64 px,
flattened on white, at most 256 colours.
Names: emojibase-data {names} (MIT, Copyright Miles Johnson), https://github.com/milesj/emojibase
"""
LABELLED = ("animals", "food", "vehicles")


def put(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    os.replace(beside, path)
    print(f"{path.name}: {len(content):,} bytes")


def flattened(rgba: np.ndarray) -> Image.Image:
    """(64, 64, 4) uint8 -> RGB picture on white."""
    alpha = rgba[..., 3:].astype(np.float64) / 255
    return Image.fromarray(np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))


def png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    small = picture.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def version(work: Path, package: str) -> str:
    return json.loads((work / "node_modules" / package / "package.json").read_text("utf-8"))["version"]


def pictures(work: Path) -> bytes:
    """The zip's bytes."""
    emoji = common.concepts(work)
    data = np.load(work / "pictures.npz")
    sources = list(common.SOURCES)
    rows = {}
    for row, (source, concept) in enumerate(zip(data["source"], data["concept"], strict=True)):
        rows[int(concept), sources[source]] = row
    rgba = data["rgba"]
    files: dict[str, bytes] = {
        "CREDITS.txt": CREDITS.format(
            noto=version(work, "@iconify-json/noto"),
            v1=version(work, "@iconify-json/noto-v1"),
            names=version(work, "emojibase-data"),
        ).encode()
    }
    for name, members in common.sets(emoji).items():
        if name in LABELLED:
            labels = "".join(emoji[index].label + "\n" for index in members)
            files[f"labels/{name}.txt"] = labels.encode()
        for index in members:
            for look in ("noto", "noto-v1"):
                if (index, look) in rows:
                    picture = flattened(rgba[rows[index, look]])
                    files[f"{name}/{emoji[index].label}/{look}.png"] = png(picture)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(files):
            info = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            # PNG is deflated already.
            info.compress_type = zipfile.ZIP_STORED if path.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(info, files[path])
    return out.getvalue()


def soup(runs: list[dict]) -> dict[str, torch.Tensor]:
    """The mean of several runs' image towers and logit scales (model soups, Wortsman et al. 2022).

    The runs share their start, so their mean lies in the same valley, and carries over to an artist
    that no run saw better than any of them.
    """
    towers = [run["visual"] for run in runs]
    out = {}
    for name, first in towers[0].items():
        same = not first.is_floating_point()  # a counter
        out[f"visual.{name}"] = first if same else torch.stack([tower[name] for tower in towers]).mean(0)
    out["logit_scale"] = torch.stack([run["logit_scale"] for run in runs]).mean()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--weights", default="clip.pt")
    parser.add_argument("--images", nargs="*", default=[], help="train_image.py's files: their mean is the image tower")
    parser.add_argument("--to", type=Path, default=common.REPOSITORY / "pipeline" / "emoji")
    parser.add_argument("--no-pictures", action="store_true")
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    state = torch.load(args.work / args.weights, weights_only=True, map_location="cpu")
    if args.images:
        state.update(soup([torch.load(args.work / name, weights_only=True) for name in args.images]))
    # Vectors stay in float32: they are few, and batch norm's variances reach below float16.
    state = {k: (v.half() if v.ndim > 1 else v).contiguous() for k, v in state.items()}
    put(args.to / "open_clip_config.json", (json.dumps(model.CONFIG, indent=2) + "\n").encode())
    put(args.to / "open_clip_model.safetensors", save(state, {"format": "pt"}))
    model.write_merges(args.to / "bpe.txt.gz.new")
    os.replace(args.to / "bpe.txt.gz.new", args.to / "bpe.txt.gz")
    if not args.no_pictures:
        put(args.to / "pictures.zip", pictures(args.work))


if __name__ == "__main__":
    main()
