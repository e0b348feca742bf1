"""Figures of a packed model, from the formulas alone: NumPy in float64, nothing of neglabel.

    top-1     share of pictures nearest to their own name among all C names
    MCM       largest softmax of the plain cosines (Ming et al. 2022, T = 1)
    MSP       the same of cosines / tau
    MaxLogit  largest cosine
    NegLabel  Jiang et al. 2024: mean over 100 groups of the softmax mass on the ID labels, negatives
              mined from WordNet (10,000 farthest: 5 % percentile of -cos to the ID labels)
    random    the same with 10,000 candidates drawn by chance, 5 seeds

tau = 1 / logit scale.  In and out of distribution are the sets of `common.sets`.  Validation's
pictures come from `pictures.npz`, the test's from `pictures.zip` as shipped.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path

import common
import numpy as np
import open_clip
import torch
from measures import MINED, auroc, fpr95, log_sum, mine, neglabel
from PIL import Image

PROMPT = "The nice {}."
SEEDS = 5


class Model:
    """A packed folder through open_clip's own loading."""

    def __init__(self, folder: Path) -> None:
        self.clip, _, self.preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=str(folder / "bpe.txt.gz"))
        self.clip.eval()
        self.tau = 1 / self.clip.logit_scale.exp().item()

    @torch.inference_mode()
    def texts(self, words: list[str]) -> np.ndarray:
        """(N,) -> (N, D) float64 unit rows."""
        rows = []
        for start in range(0, len(words), 1024):
            tokens = self.tokenizer([PROMPT.format(w) for w in words[start : start + 1024]])
            rows.append(self.clip.encode_text(tokens).double().numpy())
        return common.normalise(np.concatenate(rows))

    @torch.inference_mode()
    def images(self, pictures: list[Image.Image]) -> np.ndarray:
        """(N,) -> (N, D) float64 unit rows."""
        rows = []
        for start in range(0, len(pictures), 256):
            batch = torch.stack([self.preprocess(p) for p in pictures[start : start + 256]])
            rows.append(self.clip.encode_image(batch).double().numpy())
        return common.normalise(np.concatenate(rows))


def shown(work: Path, split: str) -> tuple[list[Image.Image], np.ndarray]:
    """All pictures of a split on white, and their concepts."""
    from pack import flattened

    data = np.load(work / "pictures.npz")
    numbers = [i for i, s in enumerate(common.SOURCES.values()) if s[2] == split]
    rows = np.flatnonzero(np.isin(data["source"], numbers))
    rgba = data["rgba"]
    return [flattened(rgba[row]) for row in rows], data["concept"][rows].astype(int)


def shipped(folder: Path, members: dict[str, list[str]]) -> dict[str, list[Image.Image]]:
    out: dict[str, list[Image.Image]] = {name: [] for name in members}
    with zipfile.ZipFile(folder / "pictures.zip") as archive:
        for path in sorted(archive.namelist()):
            if path.endswith(".png"):
                picture = Image.open(io.BytesIO(archive.read(path))).convert("RGB")
                out[path.split("/")[0]].append(picture)
    return out


def measure(folder: Path, work: Path, split: str, words: list[str]) -> dict:
    net = Model(folder)
    emoji = common.concepts(work)
    pictures, concept = shown(work, split)
    features = net.images(pictures)
    names = net.texts([c.label for c in emoji])
    best = (features @ names.T).argmax(1)
    unseen = np.array([c.unseen for c in emoji])[concept]
    right = best == concept
    out: dict = {
        "split": split,
        "logit_scale": 1 / net.tau,
        "top1_all_names": float(right.mean()),
        "top1_seen": float(right[~unseen].mean()),
        "top1_unseen": float(right[unseen].mean()) if unseen.any() else None,
        "pictures": len(pictures),
    }
    members = common.sets(emoji)
    if split == "test":
        packed = shipped(folder, {name: [] for name in members})
        by_set = {name: net.images(found) for name, found in packed.items()}
    else:
        by_set = {name: features[np.isin(concept, index)] for name, index in members.items()}
    out["counts"] = {name: len(rows) for name, rows in by_set.items()}
    vocabulary = net.texts(words)
    out["candidates"] = len(words)
    out["id"] = {}
    for name in ("animals", "food", "vehicles"):
        own = [emoji[index].label for index in members[name]]
        labels, taken = net.texts(own), set(own)
        pool = vocabulary[[word not in taken for word in words]]
        found = mine(pool, labels)
        drawn = [np.random.default_rng(s).choice(len(pool), MINED, replace=False) for s in range(SEEDS)]
        scores: dict[str, dict[str, np.ndarray]] = {}
        for other, rows in by_set.items():
            cosine = rows @ labels.T
            score = {
                "MCM": cosine.max(1) - log_sum(cosine),
                "MSP": cosine.max(1) / net.tau - log_sum(cosine / net.tau),
                "MaxLogit": cosine.max(1),
            }
            for s in range(SEEDS):
                score[f"NegLabel {s}"] = neglabel(rows, labels, pool[found], net.tau, s)
                score[f"random {s}"] = neglabel(rows, labels, pool[drawn[s]], net.tau, s)
            scores[other] = score
        table: dict = {}
        for other in by_set:
            if other == name:
                continue
            line = {k: (auroc(scores[name][k], v), fpr95(scores[name][k], v)) for k, v in scores[other].items()}
            table[other] = {k: line[k] for k in ("MCM", "MSP", "MaxLogit")}
            for k in ("NegLabel", "random"):
                runs = np.array([line[f"{k} {s}"] for s in range(SEEDS)])
                table[other][k] = (*runs.mean(0).tolist(), *runs.std(0, ddof=1).tolist())
        out["id"][name] = table
    return out


def show(out: dict) -> None:
    print(
        f"{out['split']}: {out['pictures']} pictures, top-1 {100 * out['top1_all_names']:.1f} "
        f"(seen {100 * out['top1_seen']:.1f}, unseen {100 * (out['top1_unseen'] or 0):.1f}), "
        f"logit scale {out['logit_scale']:.2f}, {out['candidates']} candidates, {out['counts']}"
    )
    methods = ("MCM", "MSP", "MaxLogit", "NegLabel", "random")
    print("| ID | OOD | " + " | ".join(methods) + " |\n| --- " * 1 + "| --- " * (len(methods) + 1) + "|")
    means = []
    for name, table in out["id"].items():
        rows = {other: [table[other][m] for m in methods] for other in table}
        rows["mean"] = [tuple(np.mean([rows[o][i] for o in table], 0)) for i in range(len(methods))]
        means.append(rows["mean"])
        for other, cells in rows.items():
            text = []
            for cell in cells:
                more = f" (±{100 * cell[2]:.1f} / {100 * cell[3]:.1f})" if len(cell) == 4 and other != "mean" else ""
                text.append(f"{100 * cell[0]:.1f} / {100 * cell[1]:.1f}{more}")
            print(f"| {name} | {other} | " + " | ".join(text) + " |")
    total = [np.mean([m[i][:2] for m in means], 0) for i in range(len(methods))]
    print("| all | mean | " + " | ".join(f"{100 * a:.1f} / {100 * f:.1f}" for a, f in total) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=common.REPOSITORY / "pipeline" / "emoji")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--nltk-data", help="folder that holds corpora/wordnet")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    common.use_nltk_data(args.nltk_data)
    out = measure(args.model, args.work, args.split, common.words())
    show(out)
    (args.work / f"figures-{args.split}.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
