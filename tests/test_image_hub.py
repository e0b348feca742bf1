"""What is refused of Hugging Face data sets, and a hub that doesn't answer."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import image_datasets, image_hub, image_tables
from neglabel.pipeline.images import open_images


@pytest.fixture
def hf_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps what `datasets` writes inside the test's own folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf-cache"))
    return tmp_path / "hf-cache"


def test_hugging_face_refusals(tmp_path: Path, hf_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    for spec in ("hf:", "hf:imagefolder", "hf:imagefolder:"):
        with pytest.raises(UsageError, match="names no data set"):
            open_images(spec)
    with pytest.raises(UsageError, match="does not exist"):
        open_images(f"hf:imagefolder:{tmp_path / 'nowhere'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NeglabelError, match="empty"):
        open_images(f"hf:imagefolder:{tmp_path / 'empty'}")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the hub")

    def unknown(*_: object, **__: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError("no")

    monkeypatch.setattr(image_datasets, "answers", lambda name: True)
    monkeypatch.setattr(datasets, "get_dataset_split_names", unreachable)
    with pytest.raises(NeglabelError, match="can't be reached"):
        open_images("hf:somebody/something@test")
    monkeypatch.setattr(datasets, "get_dataset_split_names", unknown)
    with pytest.raises(UsageError, match="no such data set"):
        open_images("hf:somebody/something")
    table = datasets.Dataset.from_dict({"words": ["a"]})
    with pytest.raises(UsageError, match="no image column"):
        image_tables.table("hf:x", table, "hf:x")


def test_an_unreachable_hub_is_asked_once_and_quietly(
    hf_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import datasets
    import huggingface_hub

    asked, seen = [], []

    def refuse(self: object, name: str, **_: object) -> None:
        asked.append(name)
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        raise OSError("Name or service not known")

    def splits(name: str, *_: object, **__: object) -> list[str]:
        seen.append((huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE))
        raise ConnectionError(f"Couldn't reach {name}")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    monkeypatch.setattr(datasets, "get_dataset_split_names", splits)
    before = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    with pytest.raises(NeglabelError, match="can't be reached"):
        open_images("hf:nosuch/thing")
    assert asked == ["nosuch/thing"]
    assert seen == [(True, True)]
    assert before == (huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)
    assert "".join(capfd.readouterr()) == ""


def test_a_hub_that_says_no_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    def invalid(self: object, name: str, **_: object) -> None:
        raise HFValidationError(name)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", invalid)
    assert image_hub.answers("a/b/c")
