"""What the paper published of the same question: its Table 11, for reference only (other pictures, other model)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from neglabel.corpora.text import normalise
from neglabel.pipeline.report.read import Run

SOURCE = (
    "Jiang et al., “Negative Label Guided OOD Detection with Pretrained Vision-Language Models”, ICLR 2024, Table 11: "
    "CLIP ViT-B/16, ID ImageNet-1k, 10,000 negatives (of 70,000 candidates for Wikipedia and part-of-speech tags)"
)
SETS = ("iNaturalist", "SUN", "Places", "Textures")
#: What the negatives' `source` says: the name of the file, mostly.
_WIKIPEDIA, _POS_TAGS = re.compile(r"wikipedia|wiki[-.]|all-titles-in-ns0"), re.compile(r"pos[-_]tag|words_pos")
#: What data sets are also called.
ALIASES = {"places365": "places", "dtd": "textures", "texture": "textures", "inat": "inaturalist", "sun397": "sun"}


@dataclass(frozen=True)
class Published:
    """One line of Table 11: AUROC and FPR95 (ID positive) in percent, of :data:`SETS` and then their average."""

    source: str
    auroc: tuple[float, ...]
    fpr95: tuple[float, ...]

    def of(self, ood: str) -> tuple[float, float] | None:
        """AUROC and FPR95 of an OOD set by name (``average``: of the four); None where the table has no such set."""
        if ood == "average":
            return self.auroc[-1], self.fpr95[-1]
        name = normalise(ood).replace(" ", "").replace("-", "")
        name = ALIASES.get(name, name)
        place = next((i for i, known in enumerate(SETS) if known.lower() == name), None)
        return None if place is None else (self.auroc[place], self.fpr95[place])


WORDNET = Published("WordNet", (99.49, 95.49, 91.64, 90.22, 94.21), (1.91, 20.53, 35.59, 43.56, 25.40))
WIKIPEDIA_EN = Published("Wikipedia, English", (96.07, 93.08, 90.09, 73.38, 88.16), (20.89, 36.05, 47.48, 86.68, 47.78))
WIKIPEDIA_FR = Published("Wikipedia, French", (91.99, 90.62, 90.37, 80.86, 88.46), (47.18, 48.79, 46.30, 76.33, 54.65))
POS_TAGS = Published("Part-of-speech tags", (99.23, 94.20, 90.17, 87.77, 92.84), (3.25, 25.93, 43.09, 50.11, 30.59))
TABLE_11 = (WORDNET, WIKIPEDIA_EN, WIKIPEDIA_FR, POS_TAGS)


def published_of(run: Run) -> Published | None:
    """The line of Table 11 whose source all of the run's negatives come from; None where there is none."""
    sources = {str(source or "").lower() for source in run.negatives.column("source") or []}
    languages = {str(code or "").lower().split("-")[0] for code in run.negatives.column("language") or []}
    if not sources:
        return None
    if all(source.startswith("wordnet") for source in sources):
        return WORDNET
    if all(_POS_TAGS.search(source) for source in sources):
        return POS_TAGS
    if all(_WIKIPEDIA.search(source) for source in sources):
        return {"en": WIKIPEDIA_EN, "fr": WIKIPEDIA_FR}.get("".join(languages)) if len(languages) == 1 else None
    return None
