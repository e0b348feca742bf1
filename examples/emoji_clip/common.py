"""What the scripts of this folder share: the concepts, who drew them, who may see them, the prompts.

A concept is one base emoji of Unicode (no flag, keycap, skin tone or component) as emojibase-data
lists it: a name, keywords, a group and a subgroup.  Numbers of groups and subgroups are those of
emojibase-data's `meta/groups.json`.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 0
PIXELS = 64  # side of every picture, and of the model's input
REPOSITORY = Path(__file__).resolve().parents[2]

# Every set of pictures: (npm package under node_modules, artist, split).  Splits go by artist, never
# by package: what Google drew is for the test alone, what Emoji One drew is for validation alone.
SOURCES: dict[str, tuple[str, str, str]] = {
    "twemoji": ("@iconify-json/twemoji", "Twitter", "train"),
    "fxemoji": ("@iconify-json/fxemoji", "Mozilla", "train"),
    "fluent-emoji": ("@iconify-json/fluent-emoji", "Microsoft", "train"),
    "fluent-emoji-flat": ("@iconify-json/fluent-emoji-flat", "Microsoft", "train"),
    "fluent-emoji-high-contrast": ("@iconify-json/fluent-emoji-high-contrast", "Microsoft", "train"),
    "fluent-emoji-3d": ("@lobehub/fluent-emoji-3d", "Microsoft", "train"),
    "streamline-emojis": ("@iconify-json/streamline-emojis", "Streamline", "train"),
    "emojione": ("@iconify-json/emojione", "Emoji One", "val"),
    "noto": ("@iconify-json/noto", "Google", "test"),
    "noto-v1": ("@iconify-json/noto-v1", "Google", "test"),
}

# Subgroups that no artist shows in training: flowers (40), musical instruments (68), tools (78) and
# science (79), so that one out-of-distribution set is unseen in the strict sense.
UNSEEN = (40, 68, 78, 79)

# The prompts that a word is trained in; the first is the package's default.
TEMPLATES = (
    "The nice {}.",
    "{}",
    "the nice {}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "a photo of the {}",
    "This is a {} photo",
    "an emoji of a {}",
    "an icon of a {}",
    "a drawing of a {}",
    "a picture of a nice {}",
)


@dataclass(frozen=True)
class Concept:
    """One base emoji.  `code` is its code points in lower-case hex without FE0F, joined by '-'."""

    code: str
    label: str
    tags: tuple[str, ...]
    group: int
    subgroup: int
    kind: str  # the subgroup's name in words, "animal mammal"

    @property
    def unseen(self) -> bool:
        return self.subgroup in UNSEEN


def short_code(code: str) -> str:
    """Code points without the variation selector, as every package can be compared by."""
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def plain(text: str) -> str:
    """`text` in lower-case ASCII, safe as a file name on every system and as a prompt's word."""
    text = text.replace("\u2019", "").replace("&", "and").replace("#", "number sign")
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return " ".join(re.sub(r"[^a-z0-9 -]+", " ", text).split())


def concepts(work: Path) -> list[Concept]:
    """The base emoji in emojibase's order (C of them; C = 1,631 in version 17)."""
    root = work / "node_modules" / "emojibase-data"
    kinds = json.loads((root / "meta/groups.json").read_text("utf-8"))["subgroups"]
    found = []
    for entry in json.loads((root / "en/data.json").read_text("utf-8")):
        group, subgroup = entry.get("group"), entry.get("subgroup")
        if group is None or group in (2, 9) or subgroup == 94:  # components, flags, keycaps
            continue
        tags = tuple(dict.fromkeys(plain(tag) for tag in entry.get("tags", ()) if plain(tag)))
        kind = kinds[str(subgroup)].replace("-", " ")
        label = plain(entry["label"])
        found.append(Concept(short_code(entry["hexcode"]), label, tags, group, subgroup, kind))
    return found


# Drawings of an animal that has a concept of its own already, and what is no animal.
_NOT_ANIMALS = re.compile(
    r"( face$)|^(paw prints|pig nose|spouting whale|front-facing baby chick|hatching chick|feather|"
    r"wing|nest|guide dog|service dog|black cat|ewe|spider web|spiral shell|coral|microbe|phoenix|"
    r"black bird|dragon|t-rex|sauropod|unicorn)$"
)
_NOT_VEHICLES = re.compile(
    r"(stop|station|motorway|track|drum|pump|wheel|light|construction|anchor|ring buoy|seat|departure|"
    r"arrival|barber|globe|map|wheelchair|skateboard|roller skate|parachute|satellite|oncoming)"
)


def sets(all_concepts: list[Concept]) -> dict[str, list[int]]:
    """Indices of the concepts in each evaluation set; the sets are disjoint."""
    out: dict[str, list[int]] = {name: [] for name in ("animals", "food", "vehicles", "objects", "faces", "unseen")}
    for index, concept in enumerate(all_concepts):
        sub = concept.subgroup
        if concept.unseen:
            out["unseen"].append(index)
        elif 34 <= sub <= 39 and not _NOT_ANIMALS.search(concept.label):
            out["animals"].append(index)
        elif 42 <= sub <= 47:
            out["food"].append(index)
        elif 54 <= sub <= 56 and not _NOT_VEHICLES.search(concept.label):
            out["vehicles"].append(index)
        elif concept.group == 7:
            out["objects"].append(index)
        elif concept.group == 0 and sub <= 10:
            out["faces"].append(index)
    return out


def use_nltk_data(folder: str | None) -> None:
    """Let nltk find WordNet: `folder`, NLTK_DATA, or the copy that the package carries."""
    import nltk

    if folder:
        nltk.data.path.insert(0, folder)
        os.environ.setdefault("NLTK_DATA", folder)
    nltk.data.path.append(str(REPOSITORY / "corpora" / "nltk_data"))


def words() -> list[str]:
    """All lemmas of WordNet's nouns and adjectives: spaces, case-folded, each once, sorted."""
    from nltk.corpus import wordnet

    lemmas = {lemma for pos in ("n", "a") for lemma in wordnet.all_lemma_names(pos)}
    return sorted({lemma.replace("_", " ").casefold() for lemma in lemmas})


def normalise(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1: (N, D) -> (N, D)."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
