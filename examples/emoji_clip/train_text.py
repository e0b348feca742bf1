"""Text tower: taught to put every word where the sentence encoder puts it.

First on `teacher.npz` alone (writes `text.pt`).  Then, with `--image image.pt --start text.pt`, a
short second course in which the names of emoji go where the pictures put them; that writes the
whole model, `clip.pt`.

Loss: 1 - cosine between the tower's vector of a prompted word and the word's target; in the second
course names must also be nearer to their own place than to another name's (cross-entropy).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import common
import model
import numpy as np
import torch
import torch.nn.functional as F


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--start", help="state to go on from, in the work folder")
    parser.add_argument("--image", help="what train_image.py wrote, in the work folder")
    parser.add_argument("--out", default="text.pt")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(common.SEED)
    rng = np.random.default_rng(common.SEED)

    data = np.load(args.work / "teacher.npz")
    targets = torch.from_numpy(data["targets"])  # (T, 128)
    weight = data["weight"].astype(np.float64)
    prompts = model.Prompts(data["texts"].tolist(), model.tokenizer(args.work))
    clip = model.build().train()
    places = None
    if args.start:
        clip.load_state_dict(torch.load(args.work / args.start, weights_only=True))
    if args.image:
        image = torch.load(args.work / args.image, weights_only=True)
        clip.visual.load_state_dict(image["visual"])
        with torch.no_grad():
            clip.logit_scale.copy_(image["logit_scale"])
        places = image["names"]  # (C, 128)
        emoji = len(places)
        first = len(targets) - emoji
        targets[first:] = places
        weight[-emoji:] = weight[:-emoji].sum() / emoji  # every second text is an emoji's name
    chance = weight / weight.sum()
    names = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    chosen = [p for n, p in clip.named_parameters() if n.startswith(names)]
    optimizer = torch.optim.AdamW(chosen, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, total_steps=args.steps, pct_start=0.05)
    start, seen, pool = time.time(), [], []
    for step in range(args.steps):
        if not pool:  # many batches at once, each of texts of like length: little padding
            rows = rng.choice(len(targets), args.batch * 32, p=chance)
            rows = rows[np.argsort([prompts.length(row) for row in rows], kind="stable")]
            pool = np.split(rows, 32)
            rng.shuffle(pool)
            pool = list(pool)
        rows = pool.pop()
        # A third in the default prompt, the rest in any.
        frames = rng.integers(len(common.TEMPLATES), size=len(rows)) * (rng.random(len(rows)) < 0.7)
        out = F.normalize(model.encode_text(clip, prompts.batch(rows, frames)), dim=-1)
        loss = 1 - (out * targets[rows]).sum(-1).mean()
        seen.append(loss.item())
        if places is not None:
            own = torch.from_numpy(rows - first)
            named = own >= 0
            logits = clip.logit_scale.exp().detach() * out[named] @ places.T
            loss = loss + 0.1 * F.cross_entropy(logits, own[named])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(chosen, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"text {step + 1} loss {np.mean(seen[-100:]):.4f} {time.time() - start:.0f} s", flush=True)
    torch.save(clip.state_dict(), args.work / args.out)


if __name__ == "__main__":
    main()
