"""Draws every artist's emoji at 64 px.

Reads the npm packages under `node_modules` of the work folder, writes `pictures.npz` there:
    rgba     (N, 64, 64, 4) uint8   straight alpha, so that training can choose the background
    concept  (N,) int16             index into `common.concepts`
    source   (N,) int8              index into `common.SOURCES`

Iconify's packages hold SVG bodies in `icons.json` (format: https://iconify.design/docs/types/).
Some also map code points to names (`chars.json`); for the others the name itself is looked up.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path

import common
import numpy as np
from PIL import Image


def compact(name: str) -> str:
    """A name without what artists differ in: 'Dog-Face' and 'dogface' are one."""
    return re.sub(r"[^a-z0-9]+", "", common.plain(name))


def read_json(path: Path) -> dict:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def known_names(modules: Path, codes: dict[str, int]) -> dict[str, int]:
    """Every name in use for a concept -> its index: labels first, shortcodes last."""
    names: dict[str, int] = {}
    for entry in read_json(modules / "emojibase-data/en/data.json"):
        index = codes.get(common.short_code(entry["hexcode"]))
        if index is not None:
            names.setdefault(compact(entry["label"]), index)
    for package in ("fluent-emoji-flat", "twemoji", "noto"):
        for code, name in read_json(modules / "@iconify-json" / package / "chars.json").items():
            index = codes.get(common.short_code(code))
            if index is not None:
                names.setdefault(compact(name), index)
    for path in sorted((modules / "emojibase-data/en/shortcodes").glob("*.json")):
        for code, found in read_json(path).items():
            index = codes.get(common.short_code(code))
            for name in [found] if isinstance(found, str) else found:
                if index is not None:
                    names.setdefault(compact(name), index)
    return names


def svgs(folder: Path, codes: dict[str, int], names: dict[str, int]) -> dict[int, str]:
    """Concept index -> SVG text for one of Iconify's packages."""
    data = read_json(folder / "icons.json")
    icons = data["icons"]
    aliases = {name: alias["parent"] for name, alias in data.get("aliases", {}).items()}
    chosen: dict[int, str] = {}
    for code, name in read_json(folder / "chars.json").items():
        index = codes.get(common.short_code(code))
        if index is not None:
            chosen.setdefault(index, name)
    for name in [*icons, *aliases]:  # names where there are no code points, or they miss some
        # Streamline numbers its variants: "baby-1", "baby-2".
        index = names.get(compact(name), names.get(compact(re.sub(r"-1$", "", name))))
        if index is not None:
            chosen.setdefault(index, name)
    out = {}
    for index, name in chosen.items():
        icon = icons.get(aliases.get(name, name))
        if icon is None:
            continue
        width = icon.get("width", data.get("width", 16))
        height = icon.get("height", data.get("height", 16))
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        out[index] = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{box}" width="{common.PIXELS}" height="{common.PIXELS}">{icon["body"]}</svg>'
        )
    return out


def draw(svg: str) -> np.ndarray:
    """SVG text -> (64, 64, 4) uint8."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=common.PIXELS, height=common.PIXELS))
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    if picture.size != (common.PIXELS, common.PIXELS):  # a drawing that is not square
        square = Image.new("RGBA", (common.PIXELS, common.PIXELS))
        offset = [(common.PIXELS - side) // 2 for side in picture.size]
        square.paste(picture, tuple(offset))
        picture = square
    return np.asarray(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    modules = args.work / "node_modules"
    all_concepts = common.concepts(args.work)
    codes = {c.code: index for index, c in enumerate(all_concepts)}
    names = known_names(modules, codes)

    rgba, concept, source = [], [], []
    for number, (name, (package, artist, split)) in enumerate(common.SOURCES.items()):
        if name == "fluent-emoji-3d":
            found = {}
            for path in sorted((modules / package / "assets").glob("*.webp")):
                index = codes.get(common.short_code(path.stem))
                if index is not None:
                    size = (common.PIXELS, common.PIXELS)
                    opened = Image.open(path).convert("RGBA").resize(size, Image.Resampling.BICUBIC)
                    found[index] = np.asarray(opened)
        else:
            found = {i: draw(svg) for i, svg in svgs(modules / package, codes, names).items()}
        shown = 0
        for index, picture in sorted(found.items()):
            # Nobody shows the unseen groups in training or validation.
            if picture[..., 3].max() == 0 or (split == "train" and all_concepts[index].unseen):
                continue
            rgba.append(picture)
            concept.append(index)
            source.append(number)
            shown += 1
        print(f"{name}: {shown} pictures by {artist} ({split})", flush=True)
    np.savez(
        args.work / "pictures.npz",
        rgba=np.stack(rgba),
        concept=np.array(concept, np.int16),
        source=np.array(source, np.int8),
    )


if __name__ == "__main__":
    main()
