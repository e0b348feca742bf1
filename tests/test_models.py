"""Loading models: names, tags, folders, every checkpoint format, weights only, and the QuickGELU trap."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import weights
from neglabel.pipeline.models import load_known, load_model, same_model
from neglabel.pipeline.text_encoder import TextEncoder
from neglabel.pipeline.torchscript import read_tensors

from .tiny_model import build_tiny

PROMPTS = ["The nice dog.", "a photo of an ice cream", "", "é", "x " * 90]


def reference(model: Any, tokenizer: Any, prompts: list[str]) -> np.ndarray:
    with torch.inference_mode():
        features = model.encode_text(tokenizer(prompts)).float()
    return torch.nn.functional.normalize(features, dim=-1).numpy()


@pytest.mark.parametrize("name", ["RN50", pytest.param("ViT-B-32", marks=pytest.mark.soak), "ViT-B-16-quickgelu"])
def test_embeddings_equal_open_clips_own(tmp_path: Path, name: str) -> None:
    import open_clip

    torch.manual_seed(3)
    own = open_clip.create_model(name, load_weights=False).eval()
    tokenizer = open_clip.get_tokenizer(name)
    save_file({k: v.contiguous() for k, v in own.state_dict().items()}, tmp_path / "w.safetensors")
    gelu = None if name.endswith("quickgelu") else False
    loaded = load_model(name, str(tmp_path / "w.safetensors"), gelu, "cpu")
    ours = TextEncoder.of(loaded, batch_size=2).encode(PROMPTS)
    assert ours.dtype == np.float32
    assert np.abs(ours - reference(own, tokenizer, PROMPTS)).max() <= 2e-5
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() <= 1e-6


def test_every_format_gives_the_same_model(tmp_path: Path, tiny_model: Path) -> None:
    state = load_file(tiny_model / "open_clip_model.safetensors")
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "training.pt")
    identities = [
        load_model(str(tiny_model), None if file is None else str(tmp_path / file), device="cpu").identity
        for file in (None, "plain.pt", "training.pt")
    ]
    assert identities[0]["checkpoint_sha256"] == identities[1]["checkpoint_sha256"]
    assert same_model(identities[0], identities[1]) is None
    assert same_model(identities[0], identities[2]) is None


def test_a_file_mapped_anew_for_each_tensor_gives_the_same_model(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_PORTION", 1)
    loaded = load_model(str(tiny_model), device="cpu")
    state = load_file(tiny_model / "open_clip_model.safetensors")
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + tensor.float().numpy().tobytes())
    assert loaded.identity["checkpoint_sha256"] == digest.hexdigest()
    found = loaded.model.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A TorchScript archive in half precision, as OpenAI published CLIP."""
    path = tmp_path_factory.mktemp("ts") / "clip.pt"
    loaded = load_model(str(tiny_model), device="cpu")
    example = (torch.zeros(1, 3, 32, 32), loaded.tokenizer(["a"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still the format of those files
        traced = torch.jit.trace(loaded.model, example, strict=False)
    traced.half().save(str(path))
    return path


def test_torchscript_weights_are_read_without_torchscript(
    archive: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("the archive must not be run"))
    state = load_file(tiny_model / "open_clip_model.safetensors")
    read = read_tensors(archive)
    assert set(state) <= set(read)
    assert all(torch.equal(read[k].float(), v.half().float()) for k, v in state.items() if v.is_floating_point())
    loaded = load_model(str(tiny_model), str(archive), device="cpu")
    original = load_model(str(tiny_model), device="cpu")
    ours, exact = (TextEncoder.of(m).encode(PROMPTS) for m in (loaded, original))
    assert (ours * exact).sum(axis=1).min() > 0.999  # half precision, not more


def test_torchscript_says_itself_that_it_is_quickgelu(archive: Path, tmp_path: Path, tiny_model: Path) -> None:
    config = json.loads((tiny_model / "open_clip_config.json").read_text())
    del config["model_cfg"]["quick_gelu"]
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    assert load_model(str(tmp_path), str(archive), device="cpu").identity["quick_gelu"] is True
    with pytest.raises(UsageError, match="known to be trained with QuickGELU"):
        load_model(str(tmp_path), str(archive), quickgelu=False, device="cpu")


class Evil:
    """Pickles into a call that would leave a trace."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def test_pickled_code_is_never_run(tmp_path: Path, archive: Path, tiny_model: Path) -> None:
    import pickle

    trace = tmp_path / "trace"
    torch.save({"weight": Evil(trace)}, tmp_path / "evil.pt")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(tmp_path / "evil_ts.pt", "w") as copy:
        for name in source.namelist():
            data = pickle.dumps(Evil(trace)) if name.endswith("/data.pkl") else source.read(name)
            copy.writestr(name, data)
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Evil(trace)))
    for file in ("evil.pt", "evil_ts.pt", "raw.pt"):
        with pytest.raises(NeglabelError, match=r"more than tensors, or none, and is not unpickled"):
            load_model(str(tiny_model), str(tmp_path / file), device="cpu")
    assert not trace.exists()


def test_quickgelu_must_be_said_where_it_is_not_known(tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model("RN50", load_weights=False)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"give --quickgelu .* or --no-quickgelu"):
        load_model("RN50", str(tmp_path / "w.pt"), device="cpu")
    yes, no = (load_model("RN50", str(tmp_path / "w.pt"), gelu, "cpu") for gelu in (True, False))
    assert (yes.identity["quick_gelu"], no.identity["quick_gelu"]) == (True, False)
    a, b = (TextEncoder.of(m).encode(PROMPTS) for m in (yes, no))
    assert np.abs(a - b).max() > 1e-3, "the wrong activation changes embeddings"
    assert same_model(yes.identity, no.identity) is not None
    with pytest.raises(UsageError, match="known to be trained with QuickGELU"):
        load_model("RN50-quickgelu", str(tmp_path / "w.pt"), quickgelu=False, device="cpu")


def test_openai_tag_means_quickgelu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default `ViT-B-16` + `openai`: open_clip's own loader would run it without QuickGELU."""
    import open_clip

    from neglabel.pipeline.model_source import find_model

    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", lambda config: str(tmp_path / "w"))
    assert find_model("ViT-B-16", None, None).quick_gelu is True
    assert find_model("ViT-B-16", "laion2b_s34b_b88k", None).quick_gelu is False
    with pytest.raises(UsageError, match="were trained with QuickGELU"):
        find_model("ViT-B-16", "openai", False)


@pytest.mark.parametrize(
    ("name", "pretrained", "says"),
    [
        ("ViT-B-61", None, "no such open_clip model (did you mean ViT-B-16"),
        ("ViT-B-16", "openia", "neither a file nor a tag of ViT-B-16 (tags: openai, "),
        ("emoji", "openai", "a model folder takes a checkpoint FILE"),
    ],
)
def test_unknown_names_are_usage_errors(name: str, pretrained: str | None, says: str) -> None:
    with pytest.raises(UsageError) as error:
        load_model(name, pretrained, device="cpu")
    assert says in str(error.value)


def test_a_folder_without_a_model_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "nothing here").mkdir()
    with pytest.raises(UsageError, match=r"nothing here: the folder has no open_clip_config\.json"):
        load_model(str(tmp_path / "nothing here"), device="cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"text_cfg": None},
        {"vision_cfg": None},
        {"text_cfg": [1]},
        {"vision_cfg": "ViT"},
        {"text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 3, "layers": 2}},
        {"vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 0, "image_size": 32}},
    ],
)
def test_a_config_of_no_model_is_one_sentence(change: dict[str, Any], tmp_path: Path, tiny_model: Path) -> None:
    whole = json.loads((tiny_model / "open_clip_config.json").read_text())
    whole["model_cfg"] = {k: v for k, v in {**whole["model_cfg"], **change}.items() if v is not None}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(whole))
    (tmp_path / "open_clip_model.safetensors").symlink_to(tiny_model / "open_clip_model.safetensors")
    with pytest.raises(NeglabelError) as error:
        load_model(str(tmp_path), device="cpu")
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "pretrained"), [("x" * 5_000, None), ("ViT-B-16", "x" * 5_000)])
def test_a_name_that_the_file_system_refuses_is_no_traceback(name: str, pretrained: str | None) -> None:
    with pytest.raises(NeglabelError):
        load_model(name, pretrained, device="cpu")


def test_no_download_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    def fail(config: Any) -> str:
        raise OSError("Name or service not known\nand more lines")

    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", fail)
    with pytest.raises(NeglabelError) as error:
        load_model("ViT-B-16", device="cpu")
    assert str(error.value) == (
        "the weights ViT-B-16/openai can't be downloaded here (Name or service not known); "
        "give a checkpoint with --pretrained FILE"
    )


def test_another_architecture_or_resolution_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    other = build_tiny(tmp_path / "wide", text_cfg={
        "context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2,
    })  # fmt: skip
    longer = build_tiny(tmp_path / "long", text_cfg={
        "context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2,
    })  # fmt: skip
    for folder in (other, longer):
        with pytest.raises(UsageError, match="weights of another architecture"):
            load_model(str(tiny_model), str(folder / "open_clip_model.safetensors"), device="cpu")


def test_damaged_checkpoints_are_named(tmp_path: Path, tiny_model: Path) -> None:
    whole = (tiny_model / "open_clip_model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:1000])
    (tmp_path / "empty.pt").write_bytes(b"")
    for file in ("cut.safetensors", "empty.pt"):
        with pytest.raises(NeglabelError, match=file):
            load_model(str(tiny_model), str(tmp_path / file), device="cpu")


def test_a_known_model_is_loaded_again_by_its_identity(tmp_path: Path, tiny_model: Path) -> None:
    identity = load_model(str(tiny_model), device="cpu").identity
    assert load_known(identity, "x", None, None, None, "cpu").identity == identity
    with pytest.raises(UsageError, match="is not the model of negatives n"):
        load_known(identity, "negatives n", str(build_tiny(tmp_path / "o", seed=5)), None, None, "cpu")


def test_cuda_without_a_device_is_a_usage_error(tiny_model: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    with pytest.raises(UsageError, match="finds no CUDA device"):
        load_model(str(tiny_model), device="cuda")
