"""CSP: `--preset csp`, from its words to its negatives, against open_clip's own tower and float64 NumPy."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from neglabel import UsageError
from neglabel.corpora import open_corpus
from neglabel.corpora.wordnet import SUPERCLASSES, Options, superclass
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.labels import encode_names
from neglabel.pipeline.mine import mine
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.models import load_model
from neglabel.pipeline.presets import PRESETS
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.prompts import Prompts, alternatives
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.text_encoder import TextEncoder

NOUN = [
    "a close-up photo of the nice {}.", "a photo with the nice {}.", "a good photo with the nice {}.",
    "a photo of the nice {}.", "{}", "the {}", "the good {}", "the nice {}",
]  # fmt: skip
ADJECTIVE = ["{}", "a nice photo of {}", "a good photo of {}", "a close-up photo of {}"]
LONG = "very long words of many letters and more of them than fit in here"
NOUNS = ["tree", "rust", "a|b", "lorry", "spoon", LONG, "dog"]
ADJECTIVES = ["silky object", "red vista", "old scene"]


class Reference:
    """The mean of several prompts' features as open_clip's ``encode_text`` gives them, in float64, at length 1."""

    def __init__(self, model: Path) -> None:
        loaded = load_model(str(model), device="cpu")
        self.model, self.tokenizer = loaded.model, loaded.tokenizer

    def __call__(self, words: list[str], templates: list[str]) -> np.ndarray:
        with torch.inference_mode():
            made = [
                self.model.encode_text(self.tokenizer([t.replace("{}", w) for w in words])).double().numpy()
                for t in templates
            ]
        total = np.mean(made, axis=0)
        return np.asarray(total / np.linalg.norm(total, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def reference(tiny_model: Path) -> Reference:
    assert open_clip
    return Reference(tiny_model)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("csp") / "words.parquet"
    kinds = ["noun"] * len(NOUNS) + ["adjective"] * len(ADJECTIVES)
    pq.write_table(pa.table({"text": NOUNS + ADJECTIVES, "pos": kinds}), path)
    return path


def encoded(words: Path, out: Path, model: Path, **options: Any) -> pa.Table:
    given = {"corpus": [str(words)], "out": out, "model": str(model), "preset": "csp", "storage": "float32"}
    encode(make(EncodeSettings, {**given, "device": "cpu", **options}), Reporter(quiet=True))
    return pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("shard-*.parquet"))])


def test_words_are_wordnets_with_every_adjective_combined() -> None:
    found = [w.text for w in open_corpus("wordnet:preset=csp,pos=a")]
    plain = [w.text for w in open_corpus("wordnet:pos=a,lemmas=first,lower=true,exclude=adj.pert")]
    assert [text.rpartition(" ")[0] for text in found] == plain
    counts = Counter(text.rpartition(" ")[2] for text in found)
    assert set(counts) == set(SUPERCLASSES)
    assert len(SUPERCLASSES) == 14
    # Each with a chance of 1/14: six standard deviations.
    expected = len(found) / 14
    assert max(abs(count - expected) for count in counts.values()) < 6 * expected**0.5
    # A word's phrase depends on the word and the seed alone.
    assert found == [f"{text} {superclass(text, 0)}" for text in plain]
    assert sum(superclass(text, 0) == superclass(text, 1) for text in plain) < 2 * expected
    options = Options(preset="csp", pos=("n",))
    assert options.exclude == ("noun.person", "noun.quantity", "noun.group", "adj.pert")
    assert (options.lemmas, options.lower, options.combine) == ("first", True, True)
    assert not Options(preset="csp", combine=False).combine
    assert not Options(preset="official").combine


def test_embeddings_are_means_before_they_are_normalised(
    words: Path, tmp_path: Path, tiny_model: Path, reference: Reference
) -> None:
    table = encoded(words, tmp_path / "store", tiny_model, shard_rows=4)
    assert table["text"].to_pylist() == NOUNS + ADJECTIVES
    want = np.concatenate([reference(NOUNS, NOUN), reference(ADJECTIVES, ADJECTIVE)])
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), want, atol=2e-6)
    # That is something else than a mean of unit vectors.
    parts = [reference(NOUNS, [template]) for template in NOUN]
    other = np.mean(parts, axis=0)
    assert np.abs(other / np.linalg.norm(other, axis=1, keepdims=True) - want[: len(NOUNS)]).max() > 1e-5
    assert table["truncated"].to_pylist() == [len(w) > 40 for w in NOUNS + ADJECTIVES]
    kept = encoded(words, tmp_path / "short", tiny_model, too_long="drop")
    assert kept["text"].to_pylist() == [w for w in NOUNS + ADJECTIVES if len(w) < 40]


def test_labels_and_negatives_follow_the_preset(
    words: Path, tmp_path: Path, tiny_model: Path, reference: Reference
) -> None:
    encoded(words, tmp_path / "store", tiny_model)
    labels = ["dog", "oak", "red vista"]
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    given = {"candidates": [tmp_path / "store"], "labels": tmp_path / "labels.txt", "out": tmp_path / "n.parquet"}
    mine(make(MineSettings, {**given, "device": "cpu", "top_share": 1.0}), Reporter(quiet=True))
    about = json.loads(pq.read_schema(tmp_path / "n.parquet").metadata[b"neglabel"])
    assert about["labels"]["prompts"] == ["|".join(NOUN)]
    chosen = {key: about["settings"][key] for key in ("preset", "percentile", "per_pos", "near_labels_last")}
    assert chosen == {"preset": "csp", "percentile": 0.05, "per_pos": True, "near_labels_last": 0.95}
    of_labels = reference(labels, NOUN)
    want = []
    for kind, templates in ((NOUNS, NOUN), (ADJECTIVES, ADJECTIVE)):
        cosines = reference(kind, templates) @ of_labels.T
        similarity = np.where(cosines.max(axis=1) > 0.95, 1.0, np.quantile(cosines, 0.95, axis=1))
        want += [kind[i] for i in np.argsort(similarity, kind="stable")]
    assert pq.read_table(tmp_path / "n.parquet")["text"].to_pylist() == want
    assert want.index("dog") == len(NOUNS) - 1  # a label itself


def test_label_prompts_with_alternatives(tiny_model: Path, reference: Reference) -> None:
    encoder = TextEncoder.of(load_model(str(tiny_model), device="cpu"))
    names = ["dog", "oak"]
    found = encode_names(names, PRESETS["csp"].label_prompts, encoder)
    np.testing.assert_allclose(found, reference(names, NOUN), atol=2e-6)
    # Several templates are averaged at length 1, each the mean of its alternatives.
    parts = reference(names, ["a {}", "the {}"]) + reference(names, ["{}"])
    want = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    np.testing.assert_allclose(encode_names(names, ["a {}|the {}", "{}"], encoder), want, atol=2e-6)


def test_what_counts_as_alternatives() -> None:
    assert PRESETS["csp"].prompts == {"": "|".join(NOUN), "adjective": "|".join(ADJECTIVE)}
    assert alternatives("a {}|the {}") == ("a {}", "the {}")
    assert alternatives("a | b {}") == ("a | b {}",)  # one place for the word: a template with a bar in it
    prompts = Prompts({"": "{}|the {}", "adjective": "{} | so"})
    assert prompts.each("x|y") == ["the x|y", "x|y"]
    assert prompts.of("x") == "the x"
    assert prompts.each("x", "adjective") == ["x | so"]
    for template in ("a {}|{} {}", "{}{}", "a {}|the|{}"):
        with pytest.raises(UsageError, match="needs {} once".replace("{", r"\{")):
            Prompts({"": template})
