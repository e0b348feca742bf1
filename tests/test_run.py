"""One file for all stages: where its paths lead, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image

from neglabel import UsageError
from neglabel.pipeline.config import make
from neglabel.pipeline.places import corpus_in, images_in
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.run import run_file, stages
from neglabel.pipeline.run_settings import RunSettings


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path) -> tuple[Path, dict[str, Any]]:
    for name in ("in/val", "in/other", "saved"):
        (tmp_path / name).mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in" / "val" / "a.png")
    (tmp_path / "in" / "list.txt").write_text("a.png 0\n")
    (tmp_path / "classes.txt").write_text("dog\n")
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    return tmp_path, {
        "out": "made", "labels": "classes.txt", "corpus": "words.txt", "model": str(tiny_model),
        "score": {"id": {"val": "in/val"}},
    }  # fmt: skip


def write(folder: Path, values: dict[str, Any]) -> Path:
    (folder / "my.toml").write_text(tomli_w.dumps(values))
    return folder / "my.toml"


def test_every_path_is_taken_from_the_files_folder(
    place: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, values = place
    monkeypatch.chdir("/")
    file = write(folder, {
        **values,
        "mine": {"text-out": "words.out.txt", "exclude": ["no.txt"], "top": 1},
        "score": {"id": ["val=in/val"], "ood": {"l": "in/list.txt@in/val"}, "images": "new=in/other"},
    })  # fmt: skip
    plan = stages(make(RunSettings, {}, file), folder)
    mining, scoring = plan["pairs"][0]
    assert (mining.text_out, mining.exclude) == (folder / "words.out.txt", (folder / "no.txt",))
    assert scoring.id == {"val": str(folder / "in/val")}
    assert scoring.ood == {"l": f"{folder / 'in/list.txt'}@{folder / 'in/val'}"}
    assert scoring.images == {"new": str(folder / "in/other")}
    assert plan["encode"].corpus == (str(folder / "words.txt"),)
    assert images_in(folder, "hf:saved@test") == f"hf:{folder / 'saved'}@test"
    assert images_in(folder, "hf:user/name") == "hf:user/name"
    assert images_in(folder, "hf:imagefolder:in") == f"hf:imagefolder:{folder / 'in'}"
    assert corpus_in(folder, "words.txt:column=x") == f"{folder / 'words.txt'}:column=x"
    assert corpus_in(folder, "file:path=words.txt,column=x") == f"file:path={folder / 'words.txt'},column=x"
    table = {"name": "file", "path": "words.txt"}
    assert corpus_in(folder, table) == {**table, "path": str(folder / "words.txt")}
    assert corpus_in(folder, "wordnet:pos=n") == "wordnet:pos=n"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": "nope.parquet"}, "nope.parquet does not exist"),
        ({"labels": "nope.txt"}, "nope.txt does not exist"),
        ({"mine": {"exclude": ["nofile.txt"]}}, "nofile.txt can't be read"),
        ({"mine": {"label-prompt": ["nobraces"]}}, "needs {} once"),
        ({"mine": {"top": 5, "top-share": 0.1}}, "[mine] the options: top and top_share exclude each other"),
        ({"mine": {"labels": "x"}}, "[mine] labels is set at the top of the file"),
        ({"score": {"id": {"val": "in/none"}}}, "in/none"),
        ({"score": {}}, "no pictures"),
        ({"score": {"id": {"val": "in/val"}, "score": ["x"]}}, "unknown score 'x'"),
        ({"report": {"casse": 2}}, "[report] unknown option `casse`"),
        ({"out": "in"}, "in holds something else"),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_first(
    place: tuple[Path, dict[str, Any]], change: dict[str, Any], says: str
) -> None:
    folder, values = place
    file = write(folder, {**values, **change})
    before = sorted(p for p in folder.rglob("*"))
    with pytest.raises(UsageError) as error:
        run_file(file, Reporter(quiet=True))
    assert says in str(error.value)
    assert sorted(p for p in folder.rglob("*")) == before
