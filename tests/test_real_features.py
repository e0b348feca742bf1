"""The README's figures of the real CLIP ViT-B/32 features, through the score stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from neglabel.pipeline import store
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score import score
from neglabel.pipeline.score_settings import ScoreSettings

FEATURES = Path(__file__).resolve().parents[2] / "shared" / "data" / "clip_vitb32"
pytestmark = pytest.mark.skipif(not FEATURES.is_dir(), reason="../shared/data/clip_vitb32 is not here")

#: OOD set → score → (AUROC, FPR95), from ../shared/data/README.md.
KNOWN = {
    "food101_16shot": {"mcm": (82.266, 81.559), "msp": (75.806, 80.260), "neglabel": (90.824, 50.681)},
    "sun397_8shot": {"mcm": (79.522, 73.457), "msp": (70.656, 80.069), "neglabel": (69.257, 91.278)},
    "dtd": {"mcm": (85.213, 59.397), "msp": (79.605, 64.953), "neglabel": (78.146, 90.839)},
    "sun397": {"mcm": (78.964, 75.189), "msp": (70.347, 79.824), "neglabel": (69.154, 91.033)},
}


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    labels = FEATURES / "labels_imagenet1k_a.parquet"
    seen = {name.lower() for name in pq.read_table(labels)["text"].to_pylist()}
    texts, vectors = [], []
    for name in ("lvis", "openimages", "objects365"):
        for block in store.stream(FEATURES / f"candidates_{name}.parquet", ["text"]):
            for text, vector in zip(block.columns["text"].to_pylist(), block.embedding, strict=True):
                if text.lower() not in seen:
                    seen.add(text.lower())
                    texts.append(text.lower())
                    vectors.append(vector)
    assert len(texts) == 1_328
    table = pa.table({"text": texts, "embedding": store.embedding_array(np.stack(vectors))})
    store.write_table(folder / "negatives.parquet", table)
    settings = ScoreSettings(
        negatives=folder / "negatives.parquet",
        labels=labels,
        out=folder / "scores",
        groups=1,
        id={"imagenet": str(FEATURES / "images_imagenet_4shot.parquet")},
        ood={name: str(FEATURES / f"images_{name}.parquet") for name in KNOWN},
    )
    score(settings, Reporter(quiet=True))
    return folder / "scores"


def column(folder: Path, name: str, column: str) -> np.ndarray:
    return np.asarray(pq.read_table(folder / f"scores-{name}.parquet", columns=[column])[column].to_numpy())


@pytest.mark.parametrize("ood", KNOWN)
@pytest.mark.parametrize("name", ["mcm", "msp", "neglabel"])
@pytest.mark.parametrize("suffix", ["", "_logit"])
def test_known_figures(scores: Path, ood: str, name: str, suffix: str) -> None:
    ours, theirs = column(scores, "imagenet", name + suffix), column(scores, ood, name + suffix)
    truth = np.r_[np.ones(len(ours)), np.zeros(len(theirs))]
    accepting = np.sort(ours)[::-1][int(np.ceil(0.95 * len(ours))) - 1]
    auroc, fpr95 = 100 * roc_auc_score(truth, np.r_[ours, theirs]), 100 * (theirs >= accepting).mean()
    assert auroc == pytest.approx(KNOWN[ood][name][0], abs=0.01)
    assert fpr95 == pytest.approx(KNOWN[ood][name][1], abs=0.01)


def test_labels_given_as_indices_become_names(scores: Path) -> None:
    names = pq.read_table(FEATURES / "labels_imagenet1k_a.parquet")["text"].to_pylist()
    indices = pq.read_table(FEATURES / "images_imagenet_4shot.parquet", columns=["label"])["label"].to_pylist()
    table = pq.read_table(scores / "scores-imagenet.parquet", columns=["label", "predicted_label"])
    assert table["label"].to_pylist() == [names[i] for i in indices]
    # Zero-shot accuracy with `a {}`: 58.9 % (61.2 % with `a photo of a {}`), from the same features in float64.
    right = np.mean([a == b for a, b in zip(*(table[c].to_pylist() for c in table.column_names), strict=True)])
    assert 100 * right == pytest.approx(58.9, abs=0.1)
