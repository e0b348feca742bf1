"""Places by URI as text: parsed, joined, written down and read back, on the way into every stage's settings."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.corpora.uri import Remote, join, location
from neglabel.pipeline.config import dump, make
from neglabel.pipeline.image_sources import FileSource
from neglabel.pipeline.images import Item
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.places import corpus_in, images_in
from neglabel.pipeline.run_settings import QuickstartSettings, RunSettings
from neglabel.pipeline.run_stages import Stages
from neglabel.pipeline.score_plan import DataSet, _share_nothing
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.settings import EncodeSettings

HERE = "?endpoint_override=127.0.0.1:5000&scheme=http"
names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/"), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(names, min_size=1, max_size=4), st.sampled_from(["", HERE]))
def test_any_key_is_written_and_read_back(parts: list[str], query: str) -> None:
    place = location(f"s3://bucket{query}")
    for part in parts:
        place = place / part
    assert isinstance(place, Remote)
    again = location(str(place))
    assert again == place
    assert place.parts[1:] == tuple(parts)
    assert (place.name, place.parent / place.name) == (parts[-1], place)


def test_a_query_stays_behind_the_path_and_a_uri_is_absolute() -> None:
    folder = location("s3://bucket/a/" + HERE)
    assert str(folder / "b.parquet") == f"s3://bucket/a/b.parquet{HERE}"
    assert (folder / "b.parquet").suffix == ".parquet"
    assert str((folder / "b.parquet").with_name("c")) == f"s3://bucket/a/c{HERE}"
    assert Path("/somewhere") / folder == folder
    assert join(Path("/somewhere"), f"s3://bucket/a{HERE}") == folder
    assert join(Path("/somewhere"), "a") == Path("/somewhere/a")
    assert location("file:///tmp/a%20b") == Path("/tmp/a b")
    assert location("s3:/bucket") == Path("s3:/bucket")
    assert folder in (folder / "x/y").parents


def test_a_remote_holds_its_text_and_no_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    place = location(f"s3://bucket/a{HERE}")
    carried = pickle.dumps(place)
    assert b"hush" not in carried
    assert {pickle.loads(carried): 1}[place] == 1


@pytest.mark.parametrize("text", ["s3://key:hush@b/x", "s3://key@b/x", "gs://b/x?access_token=hush", "abfs://c:hush@a/x"])
def test_credentials_in_a_uri_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="no credentials in a URI") as error:
        location(text)
    assert "hush" not in str(error.value)
    with pytest.raises(UsageError, match="no credentials"):
        make(EncodeSettings, {"out": text})
    assert str(location("abfs://container@account/x")) == "abfs://container@account/x"


def test_settings_take_uris_and_give_them_back(tmp_path: Path) -> None:
    given = {
        "candidates": ["s3://b/store", "local"], "labels": f"s3://b/labels.txt{HERE}", "out": "s3://b/n.parquet",
        "exclude": "s3://b/no.txt", "work": "s3://b/work", "text_out": "words.txt",
    }  # fmt: skip
    made = make(MineSettings, given)
    assert made.candidates == (location("s3://b/store"), Path("local"))
    assert made.model_dump(mode="json")["labels"] == f"s3://b/labels.txt{HERE}"
    (tmp_path / "again.toml").write_text(dump(made))
    again = make(MineSettings, {}, tmp_path / "again.toml")
    assert again == made.model_copy(
        update={"candidates": (made.candidates[0], Path("local").absolute()), "text_out": Path("words.txt").absolute()}
    )
    several = make(MineSettings, {**given, "labels": ["s3://b/x.txt", "y.txt"], "out": "s3://b/dir", "text_out": None})
    assert [str(each.out) for each in several.each()] == ["s3://b/dir/x.parquet", "s3://b/dir/y.parquet"]
    scoring = make(ScoreSettings, {"negatives": "a", "labels": "b", "out": "s3://b/s", "cache": "s3://b/c"})
    assert (scoring.negatives, str(scoring.cache)) == (Path("a"), "s3://b/c")
    with pytest.raises(UsageError, match="a folder of this machine"):
        make(QuickstartSettings, {"out": Path("s3://b/x")})


def test_a_run_from_another_folder_leaves_uris_alone(tmp_path: Path) -> None:
    settings = make(RunSettings, {
        "out": f"s3://b/run{HERE}", "labels": "s3://b/labels.txt", "corpus": f"s3://b/w.csv{HERE}:column=x",
        "mine": {"exclude": "s3://b/no.txt"}, "score": {"id": {"a": "s3://b/pictures", "b": "here"}},
    })  # fmt: skip
    stages = Stages(settings, tmp_path)
    store = stages.out / "candidates"
    assert str(store) == f"s3://b/run/candidates{HERE}"
    assert stages.encode(settings.corpus, store).corpus == (f"s3://b/w.csv{HERE}:column=x",)
    assert stages.mine([store], stages.out / "n.parquet").exclude == (location("s3://b/no.txt"),)
    scoring = stages.score(stages.out / "n.parquet", stages.out / "s")
    assert scoring.id == {"a": "s3://b/pictures", "b": str(tmp_path / "here")}
    assert str(scoring.cache) == f"s3://b/run/cache{HERE}"
    assert images_in(tmp_path, f"s3://b/l.txt{HERE}@s3://b/root{HERE}") == f"s3://b/l.txt{HERE}@s3://b/root{HERE}"
    assert images_in(tmp_path, "s3://b/l.txt@root") == f"s3://b/l.txt@{tmp_path / 'root'}"
    assert corpus_in(tmp_path, "file:path=s3://b/w.txt,format=text") == "file:path=s3://b/w.txt,format=text"
    assert corpus_in(tmp_path, {"path": "s3://b/w.txt"}) == {"path": "s3://b/w.txt"}


def test_one_picture_by_uri_is_not_both_id_and_ood() -> None:
    def source(*paths: str) -> FileSource:
        return FileSource("spec", [Item(path, path, None) for path in paths])

    one, other = DataSet("a", "id", source("s3://b/x.png")), DataSet("b", "ood", source("s3://b/y.png", "s3://b/x.png"))
    with pytest.raises(UsageError, match=r"both hold s3://b/x\.png"):
        _share_nothing([one, other])
