"""``report --compare corpus`` end to end on folders of kept embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import metrics
from neglabel.pipeline.labels import read_lines

from .make_kept import World, logits, own_groups, unit, write_kept
from .make_report import make, read_csv

WORLD = World(pictures={"animals": 120, "food": 60, "cars": 50}, noise=0.65)
#: Far words that answer to OOD pictures; the same with words that answer to ID pictures among them; their union.
GOOD = np.concatenate([WORLD.words(20, "food", seed=1), WORLD.words(20, "cars", seed=2), WORLD.words(20, seed=3)])
BAD = np.concatenate([GOOD[:10], WORLD.words(12, "animals", 3.0, seed=4), WORLD.words(38, seed=5)])
GOOD_WORDS = [f"good {i}" for i in range(60)]
BAD_WORDS = GOOD_WORDS[:10] + [f"hurts {i}" for i in range(12)] + [f"bad {i}" for i in range(38)]
OPTIONS: dict[str, Any] = {"compare": "corpus", "cases": 0, "bootstrap": 60}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    union = np.concatenate([GOOD[:40], BAD[40:]])
    return [
        write_kept(root / "bad", WORLD, BAD, BAD_WORDS, stores=["b"], source="frwiki-20240101.gz", language="fr"),
        write_kept(root / "good", WORLD, GOOD, GOOD_WORDS, stores=["a"], language="de"),
        write_kept(root / "union", WORLD, union, GOOD_WORDS[:40] + BAD_WORDS[40:], language="de",
                   stores=["a", "b"]),
        write_kept(root / "random", WORLD, WORLD.words(60, seed=9), BAD_WORDS, random=True),
    ]


@pytest.fixture(scope="module")
def made(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    return make(tmp_path_factory.mktemp("made"), *folders, **OPTIONS, hurting=12)


def test_figures_are_those_of_the_report(made: tuple[dict[str, Any], Path]) -> None:
    summary, out = made
    rows = read_csv(out / "compare.csv")
    plain = {(r["run"], r["ood"]): r for r in read_csv(out / "metrics.csv")}
    assert len(rows) == 9
    for row in rows:
        for metric in ("auroc", "fpr95"):
            assert float(row[metric]) == pytest.approx(float(plain[row["run"], row["ood"]][metric]), abs=1e-3)
            low, gap, high = (float(row[f"{metric}_{part}"]) for part in ("low", "difference", "high"))
            assert low <= high
            best = plain[summary["compare"]["best"], row["ood"]]
            assert gap == pytest.approx(float(row[metric]) - float(best[metric]), abs=2e-3)
    averages = {r["run"]: r for r in rows if r["ood"] == "average"}
    assert float(averages["bad"]["auroc_high"]) < 0
    assert averages["good"]["published_auroc"] == "94.21"
    assert averages["bad"]["published_fpr95"] == "54.65"
    assert summary["compare"]["runs"][-1]["run"] == "bad"
    assert summary["compare"]["runs"][-1]["auroc_shown"]
    assert any("shown against bad" in note or "and bad" in note for note in summary["notes"])
    assert any("random: random negatives are no source" in note for note in summary["notes"])


def test_overlap_is_counted(made: tuple[dict[str, Any], Path]) -> None:
    rows = {(r["run"], r["other"]): r for r in read_csv(made[1] / "overlap.csv")}
    assert len(rows) == 6
    assert rows["bad", "good"]["exact"] == "10"
    union = {"words": GOOD_WORDS[:40] + BAD_WORDS[40:], "vectors": np.concatenate([GOOD[:40], BAD[40:]])}
    near = (union["vectors"] @ BAD.T > 0.95).any(axis=1).sum()
    row = rows["union", "bad"]
    assert (row["exact"], row["near"]) == (str(len(set(union["words"]) & set(BAD_WORDS))), str(near))


def test_words_that_hurt(made: tuple[dict[str, Any], Path]) -> None:
    summary, out = made
    found = json.loads((out / "hurting-bad.json").read_text(encoding="utf-8"))
    words = read_lines(out / "hurting-bad.txt", "--exclude")  # as `mine --exclude` reads it
    assert words == [word["text"] for word in found["words"]]
    assert sum(word.startswith("hurts") for word in words) >= 8
    assert summary["compare"]["hurting"]["bad"] == found["verdict"] == "helps"
    in_a = np.isin([f"animals/{i}.png" for i in range(120)], found["half_a"]["animals"])
    assert in_a.sum() == found["sizes"][0] == 120 - found["sizes"][1]
    # By the formula alone: the chosen negatives masked out of the groups, judged on half B.
    gone = {BAD_WORDS.index(word) for word in words}
    left = [[j for j in group if j not in gone] for group in own_groups(60, 4)]
    for key, groups in (("before", own_groups(60, 4)), ("after", left)):
        inside = logits(WORLD, "animals", BAD, groups)[~in_a]
        outside = [logits(WORLD, name, BAD, groups) for name in ("food", "cars")]
        auroc, fpr95 = (100 * np.mean([f(inside, o) for o in outside]) for f in (metrics.auroc, metrics.fpr95))
        assert found[key]["auroc"] == pytest.approx(auroc, abs=1e-3)
        assert found[key]["fpr95"] == pytest.approx(fpr95, abs=0.5)
    # Chosen by the mean share over half A in the run's own softmax.
    h = WORLD.embeddings["animals"][in_a].astype(float)
    up, down = (np.exp(h @ x.T.astype(float) / 0.05) for x in (BAD, WORLD.labels))
    share = 100 * (up / (up.sum(axis=1) + down.sum(axis=1))[:, None]).mean(axis=0)
    assert words == [BAD_WORDS[j] for j in np.argsort(-share)[:12]]
    assert found["words"][0]["share"] == pytest.approx(share.max(), rel=1e-3)
    assert [other["count"] for other in found["others"]] == [10, 12, 30]


def test_again_is_the_same(made: tuple[dict[str, Any], Path], folders: list[Path], tmp_path: Path) -> None:
    _, out = make(tmp_path, *folders, **OPTIONS, hurting=12)
    for name in ("compare.csv", "overlap.csv", "hurting-bad.json", "hurting-good.txt"):
        assert (out / name).read_bytes() == (made[1] / name).read_bytes()
    _, other = make(tmp_path / "other", *folders, **OPTIONS, hurting=12, seed=1)
    assert (other / "hurting-bad.json").read_bytes() != (out / "hurting-bad.json").read_bytes()


def test_without_kept_embeddings_it_says_so(folders: list[Path], tmp_path: Path) -> None:
    write_kept(tmp_path / "plain", WORLD, BAD, BAD_WORDS, keep=False, language="de")
    summary, out = make(tmp_path, folders[1], tmp_path / "plain", **OPTIONS)
    assert any("no embeddings were kept of plain" in n and "--keep-embeddings" in n for n in summary["notes"])
    assert summary["compare"]["lacking"] == ["plain"]
    assert {r["near"] for r in read_csv(out / "overlap.csv")} == {""}
    assert not list(out.glob("hurting-*"))
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert "No embeddings were kept of plain" in page
    assert 'id="hurting"' not in page


def test_files_of_an_earlier_comparison_go(folders: list[Path], tmp_path: Path) -> None:
    _, out = make(tmp_path, *folders[:2], **OPTIONS, hurting=5)
    assert (out / "hurting-bad.txt").exists()
    (out / "mine.txt").write_text("keep")
    make(tmp_path, *folders[1:3], **OPTIONS, hurting=5)
    assert not (out / "hurting-bad.txt").exists()
    assert (out / "hurting-union.json").exists()
    summary, _ = make(tmp_path, *folders[:2], cases=0)
    assert summary["compare"] is None
    assert not [p for p in out.iterdir() if p.name.startswith(("compare", "overlap", "hurting"))]
    assert (out / "mine.txt").exists()
    assert "compare.html" not in (out / "index.html").read_text(encoding="utf-8")


def test_few_negatives_are_not_studied(folders: list[Path], tmp_path: Path) -> None:
    summary, out = make(tmp_path, *folders[:2], **OPTIONS)  # --hurting is 100 by default, there are 60
    assert any("not studied for" in note and "--hurting" in note for note in summary["notes"])
    assert not list(out.glob("hurting-*"))


def test_nothing_is_written_where_it_is_unfair(folders: list[Path], tmp_path: Path) -> None:
    write_kept(tmp_path / "other", WORLD, GOOD, GOOD_WORDS, candidates=499)
    with pytest.raises(UsageError, match="numbers of candidates differ"):
        make(tmp_path, folders[0], tmp_path / "other", **OPTIONS)
    assert not list((tmp_path / "report").glob("*"))


@pytest.mark.parametrize("damage", ["missing", "rows", "scores", "no column"])
def test_damaged_embeddings_are_one_sentence(folders: list[Path], tmp_path: Path, damage: str) -> None:
    folder = write_kept(tmp_path / "b", WORLD, BAD, BAD_WORDS, language="de")
    path = folder / "embeddings-cars.parquet"
    if damage == "missing":
        path.unlink()
    elif damage == "rows":
        pq.write_table(pq.read_table(path).slice(1), path)
    elif damage == "scores":
        table = pq.read_table(folder / "negatives.parquet")
        worse = unit(np.random.default_rng(0).normal(size=BAD.shape)).reshape(-1)
        column = type(table["embedding"].chunk(0)).from_arrays(worse, BAD.shape[1])
        pq.write_table(table.set_column(table.column_names.index("embedding"), "embedding", column),
                       folder / "negatives.parquet")  # fmt: skip
    else:
        labels = pq.read_table(folder / "labels.parquet")
        pq.write_table(labels.drop_columns(["embedding"]), folder / "labels.parquet")
    with pytest.raises(NeglabelError, match="run `score --keep-embeddings` again") as caught:
        make(tmp_path, folders[1], folder, **OPTIONS, hurting=5)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "report").glob("compare*"))


def test_names_of_runs_become_names_of_files() -> None:
    from neglabel.pipeline.report.compare.tables import slugs

    names = ["<b>", "a/b", "a b", "A-B", "..", "中文", "x" * 300]
    found = slugs(names)
    assert list(found.values())[:6] == ["b", "a-b", "a-b-2", "A-B-3", "run", "中文"]
    assert all(len(f"hurting-{slug}.json".encode()) < 255 for slug in found.values())
