"""ALIGN, AltCLIP and GroupViT of transformers from a folder, offline: against transformers' own features."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import hf_source, tower_probe
from neglabel.pipeline.image_cache import ImageCache
from neglabel.pipeline.image_encoder import ImageEncoder
from neglabel.pipeline.images import open_images
from neglabel.pipeline.model_config import model_config
from neglabel.pipeline.models import load_known, load_model
from neglabel.pipeline.places import model_in
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.text_encoder import TextEncoder

from .make_pictures import pictures
from .tiny_transformers import CLASSES, CONTEXT, KINDS, build

transformers = pytest.importorskip("transformers", reason="these models need transformers")

PROMPTS = ["The nice dog.", "a", "", "the nice dog", "!!", "! dog <|endoftext|> cat", "[PAD] dog <pad> [SEP] [PAD]",
           "naïve 犬", "dog " * 200]  # fmt: skip
OLD = int(transformers.__version__.split(".")[0]) < 5


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hf")
    return {kind: build(root / kind, kind) for kind in KINDS}


@pytest.fixture
def copied(tmp_path: Path, folders: dict[str, Path]) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(folders[kind], tmp_path / "model"))


def theirs(folder: Path, kind: str) -> Any:
    return getattr(transformers, CLASSES[kind]).from_pretrained(folder).eval()


def unit(features: Any) -> np.ndarray:
    found = getattr(features, "pooler_output", features)
    return torch.nn.functional.normalize(found, dim=-1).detach().numpy()


def edit(file: Path, **changes: Any) -> None:
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({**whole, **changes}))


@pytest.mark.parametrize("kind", KINDS)
def test_text_features_are_transformers_own(folders: dict[str, Path], kind: str) -> None:
    model, tokenizer = theirs(folders[kind], kind), transformers.AutoTokenizer.from_pretrained(folders[kind])
    tokens = tokenizer(
        PROMPTS, padding="max_length", truncation=True, max_length=CONTEXT[kind], return_tensors="pt",
        return_token_type_ids=False,
    )  # fmt: skip
    with torch.inference_mode():
        truth = unit(model.get_text_features(**tokens))
    said: list[str] = []
    loaded = load_model(f"hf:{folders[kind]}", device="cpu")
    encoder = TextEncoder.of(loaded, notice=said.append)
    assert np.abs(encoder.encode(PROMPTS) - truth).max() <= 2e-6
    assert (encoder.path, said) == ("cut", [])
    small = TextEncoder(loaded.model, loaded.tokenizer, token_budget=30)
    assert np.abs(small.encode(PROMPTS[::-1]) - truth[::-1]).max() <= 2e-6
    alone = np.concatenate([encoder.encode([prompt]) for prompt in PROMPTS])
    assert np.abs(alone - truth).max() <= 2e-6
    assert encoder.truncated(PROMPTS).tolist() == [False] * 8 + [True]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(truth) for j, b in enumerate(truth[:i])
               if (i, j) != (3, 0)) > 1e-3, "each has its own"  # fmt: skip
    scale = 1 / model.temperature if kind == "align" else model.logit_scale.exp()
    identity = loaded.identity
    assert identity["logit_scale"] == pytest.approx(scale.item())
    assert (identity["embed_dim"], identity["context_length"]) == (truth.shape[1], CONTEXT[kind])
    assert len(identity["checkpoint_sha256"]) == 64


@pytest.mark.parametrize("kind", KINDS)
def test_image_features_are_transformers_own(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    images = [*pictures(4), *(picture.convert(mode) for picture, mode in zip(pictures(4, 1), ("L", "RGBA", "P", "1"),
              strict=True)), Image.new("RGB", (50, 3), "red")]  # fmt: skip
    how: dict[str, Any] = {"use_fast": False} if OLD else {"backend": "pil"}
    processor = transformers.AutoImageProcessor.from_pretrained(folders[kind], **how)
    pixels = [processor(image.convert("RGB"), return_tensors="pt", input_data_format="channels_last")["pixel_values"]
              for image in images]  # fmt: skip
    with torch.inference_mode():
        truth = unit(theirs(folders[kind], kind).get_image_features(pixel_values=torch.cat(pixels)))
    loaded = load_model(f"hf:{folders[kind]}", device="cpu")
    for size in (2, 9):
        assert np.abs(ImageEncoder.of(loaded, size, 2).encode(images) - truth).max() <= 2e-6
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i}.png")
    source = open_images(str(tmp_path))
    for found in (0, len(images)):
        again = ImageEncoder.of(load_model(f"hf:{folders[kind]}", device="cpu"), 4, 2)
        cache = ImageCache(tmp_path / "cache", again, loaded.identity, Reporter(quiet=True))
        batches = [batch.embedding for batch in cache.stream(source)]
        assert (cache.hits, cache.misses) == (found, len(images) - found), "another process's embeddings are found"
        assert np.abs(np.concatenate(batches) - truth).max() <= 2e-6


def test_preprocessing_by_hand(folders: dict[str, Path]) -> None:
    (image,) = pictures(1, 5)
    image = image.resize((60, 60))
    align = np.asarray(image.resize((45, 45), Image.Resampling.BILINEAR), np.float64)[4:41, 4:41] / 127.5 - 1
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    clip = (np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC), np.float64) / 255 - mean) / std
    for kind, wanted in (("align", align), ("altclip", clip), ("groupvit", clip)):
        ours = load_model(f"hf:{folders[kind]}", device="cpu").preprocess(image)
        assert np.abs(ours.numpy() - wanted.transpose(2, 0, 1)).max() <= 1e-6, kind


def test_what_processors_save_today_is_read(copied: Callable[[str], Path]) -> None:
    """transformers 5 writes ``processor_config.json`` in place of the image processor's own file."""
    folder = copied("altclip")
    before = load_model(f"hf:{folder}", device="cpu")
    image, tokens = (getattr(transformers, name).from_pretrained(folder) for name in ("AutoImageProcessor",
                                                                                      "AutoTokenizer"))  # fmt: skip
    (folder / "preprocessor_config.json").unlink()
    transformers.AltCLIPProcessor(image, tokens).save_pretrained(folder)
    after = load_model(f"hf:{folder}", device="cpu")
    (picture,) = pictures(1)
    assert torch.equal(before.preprocess(picture), after.preprocess(picture))
    assert torch.equal(before.tokenizer(PROMPTS), after.tokenizer(PROMPTS))


def test_contexts_end_with_the_positions(tmp_path: Path) -> None:
    """RoBERTa's begin behind the padding's index: of 20 there are 18."""
    loaded = load_model(f"hf:{build(tmp_path / 'short', 'altclip', max_position_embeddings=20)}", device="cpu")
    assert loaded.identity["context_length"] == 18
    assert np.isfinite(TextEncoder.of(loaded).encode(["dog " * 50])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_and_an_untrained_tower(folders: dict[str, Path], kind: str) -> None:
    name, said = f"hf:{folders[kind]}", list[str]()
    whole = load_model(name, device="cpu")
    exact = TextEncoder.of(whole).encode(PROMPTS)
    for precision in ("fp16", "bf16") if kind == "altclip" else ("fp16",):
        loaded = load_model(name, device="cpu", precision=precision)
        loaded.model.visual = None  # as the stage does
        encoder = TextEncoder.of(loaded, notice=said.append)
        assert (encoder.encode(PROMPTS) * exact).sum(axis=1).min() >= 0.995
        assert (encoder.path, said) == ("cut", [])
        assert loaded.identity == whole.identity
    config = model_config(name)
    assert (config.dimension, config.context_length) == (24, CONTEXT[kind])
    found = tower_probe._measure({
        "name": name, "config": config.config, "folder": str(config.folder), "device": "cpu", "precision": "fp32",
        "batch_size": 8, "prompts": PROMPTS[:3], "longer": PROMPTS[-2:], "timed": 0.01,
    })  # fmt: skip
    assert found["truncated"] == 1
    assert found["prompts_per_second"] > 0


def test_encode_mine_and_score(
    tmp_path: Path, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from neglabel.cli import main

    def neglabel(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["neglabel", *map(str, arguments), "--device", "cpu", "--quiet"])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in (0, None), capsys.readouterr().err

    monkeypatch.chdir(tmp_path)
    copied("groupvit")
    Path("words.txt").write_text("horse\ntable\nriver\ncloud\n")
    Path("labels.txt").write_text("cat\nbird\n")
    for name, colour in (("id/cat/1.png", "red"), ("id/bird/2.png", "green"), ("ood/1.png", "blue")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 50), colour).save(name)
    neglabel("encode", "words.txt", "--model", "hf:model", "--out", "store", "--storage", "float32")
    assert capsys.readouterr().err == "", "neither bars nor advice of transformers"
    neglabel("mine", "store", "--labels", "labels.txt", "--top", "3", "--out", "negatives.parquet")
    neglabel("score", "--negatives", "negatives.parquet", "--labels", "labels.txt", "--id", "pets=id", "--ood", "x=ood",
             "--score", "mcm", "--out", "scores", "--cache", "cache")  # fmt: skip
    loaded = load_model("hf:model", device="cpu")
    assert json.loads(Path("scores/manifest.json").read_text())["model"] == loaded.identity
    labels = TextEncoder.of(loaded).encode([f"The nice {label}." for label in ("cat", "bird")]).astype(np.float64)
    table = pq.read_table("scores/scores-x.parquet")
    picture = ImageEncoder.of(loaded).encode([Image.open("ood/1.png")])[0].astype(np.float64)
    # MCM: the largest of softmax(cosine / 1).
    wanted = 1 / np.exp(labels @ picture - (labels @ picture).max()).sum()
    column = next(name for name in table.column_names if "mcm" in name)
    assert table[column][0].as_py() == pytest.approx(wanted, abs=1e-5)
    neglabel("encode", "words.txt", "--model", "hf:model", "--out", "store", "--storage", "float32")
    with pytest.raises(UsageError, match="is not the model of negatives"):
        load_known({**loaded.identity, "checkpoint_sha256": "0" * 64}, "negatives", "hf:model", None, None, "cpu")


def _lose(folder: Path, tensor: str) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    save_file({name: values for name, values in state.items() if name != tensor}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("kind", "change", "options", "says"),
    [
        ("align", lambda f: edit(f / "config.json", model_type="clip"), {},
         r"is of type `clip`; through transformers only ALIGN, AltCLIP and GroupViT .* go through open_clip"),
        ("align", lambda f: (f / "config.json").unlink(), {}, r"has no config\.json"),
        ("align", lambda f: (f / "config.json").write_text("[]"), {}, "can't be read as a configuration"),
        ("align", lambda f: edit(f / "config.json", text_config=3), {}, "can't be read as a configuration"),
        ("align", lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), {},
         r"has no model\.safetensors \(a \.bin can hold code and is not read\)"),
        ("align", lambda f: (f / "model.safetensors").write_bytes(b"none"), {}, "the weights in .* can't be read"),
        ("altclip", lambda f: _lose(f, "text_projection.weight"), {}, "not the whole model: `text_projection.weight`"),
        ("altclip", lambda f: (f / "tokenizer.json").write_text("{"), {}, "the tokenizer in .* can't be read"),
        ("altclip", lambda f: edit(f / "tokenizer_config.json", pad_token="</s>"), {}, "tokenizer .* of another model"),
        ("groupvit", lambda f: edit(f / "tokenizer_config.json", extra_special_tokens=["<extra>"]), {},
         "tokenizer .* of another model: it has 517 tokens"),
        ("altclip", lambda f: (f / "preprocessor_config.json").unlink(), {}, "the image processor in .* can't be read"),
        ("groupvit", lambda f: edit(f / "preprocessor_config.json", crop_size=30), {},
         r"image processor .* of another model: it gives \(3, 30, 30\), the image tower takes \(3, 32, 32\)"),
        ("align", lambda f: None, {"pretrained": "openai"}, "--pretrained openai: .* has its own weights"),
        ("groupvit", lambda f: None, {"quickgelu": False}, "says its activation itself"),
    ],
)  # fmt: skip
def test_what_is_refused(
    copied: Callable[[str], Path], kind: str, change: Callable[[Path], Any], options: dict[str, Any], says: str
) -> None:
    folder = copied(kind)
    change(folder)
    with pytest.raises(NeglabelError, match=says) as error:
        load_model(f"hf:{folder}", device="cpu", **options)
    assert "\n" not in str(error.value)


def test_transformers_may_be_missing(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"needs transformers: `pip install 'neglabel\[transformers\]'`"):
        load_model(f"hf:{folders['align']}", device="cpu")


@pytest.mark.parametrize(("file", "changes"), [
    ("config.json", {"auto_map": {"AutoConfig": "code.Own", "AutoModel": "code.Own"}}),
    ("tokenizer_config.json", {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["code.Own", "code.Own"]}}),
    ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "code.Own"}}),
])  # fmt: skip
def test_code_in_a_folder_is_never_run(copied: Callable[[str], Path], file: str, changes: dict[str, Any]) -> None:
    folder = copied("groupvit")
    edit(folder / file, **changes)
    (folder / "code.py").write_text(f"open({str(folder / 'trace')!r}, 'w')\nclass Own: pass\n")
    try:
        load_model(f"hf:{folder}", device="cpu")
    except NeglabelError as error:
        assert "code of its own, which is never done" in str(error)  # noqa: PT017
    assert not (folder / "trace").exists()


def test_names_of_the_hub(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub's cache holds serves offline, and the identity names its commit."""
    import huggingface_hub

    commit, repo = "0123456789" * 4, tmp_path / "models--owner--align"
    shutil.copytree(folders["align"], repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    for ref in ("main", "v1"):
        (repo / "refs" / ref).write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("hf:owner/align", "hf:owner/align@v1", f"hf:owner/align@{commit}"):
        assert hf_source.find(name).pretrained == commit
    loaded = load_model("hf:owner/align", device="cpu")
    assert load_known(loaded.identity, "negatives", None, None, None, "cpu").identity == loaded.identity
    (repo / "refs" / "main").write_text("9" * 40)  # the branch went on
    assert load_known(loaded.identity, "negatives", None, None, None, "cpu").identity == loaded.identity
    for name in ("hf:owner/align", "hf:owner/other", "hf:owner/align@v2"):
        with pytest.raises(NeglabelError, match=r"the Hugging Face hub can't be reached; download it elsewhere"):
            load_model(name, device="cpu")
    with pytest.raises(UsageError, match="no such folder; write hf:FOLDER, or hf:OWNER/NAME"):
        load_model("hf:/no/such/folder", device="cpu")


def test_folders_of_a_run_are_beside_its_file(folders: dict[str, Path]) -> None:
    folder = folders["align"]
    assert model_in(folder.parent, "hf:align") == f"hf:{folder}" == model_in(Path("/elsewhere"), f"hf:{folder}")
    assert model_in(folder.parent, "hf:owner/name@v1") == "hf:owner/name@v1"
