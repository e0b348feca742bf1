"""Multilingual text towers from a folder, offline: XLM-R, NLLB, SigLIP and SigLIP 2, against open_clip's own."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.models import load_model
from neglabel.pipeline.text_encoder import TextEncoder

pytest.importorskip("transformers", reason="multilingual towers need transformers")
from .tiny_towers import KINDS, absolute_copy, build_tower

PROMPTS = ["The nice dog.", "le joli chien", "漂亮的狗", "хороший", "Don't! (a PHOTO)", "", "x" * 90]
CONTEXT = {"xlm-r": 77, "nllb": 77, "siglip": 64, "siglip2": 64}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def edit(folder: Path, **text: Any) -> None:
    config = folder / "open_clip_config.json"
    whole = json.loads(config.read_text())
    whole["model_cfg"]["text_cfg"].update(text)
    config.write_text(json.dumps(whole))


@pytest.mark.parametrize("part", [".", "tower"])
@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_equal_open_clips_own(tmp_path: Path, kind: str, part: str) -> None:
    import open_clip

    folder = build_tower(tmp_path / "model", kind, part)
    loaded = load_model(str(folder), device="cpu")
    encoder = TextEncoder.of(loaded, batch_size=3)
    ours = encoder.encode(PROMPTS)
    name = f"local-dir:{absolute_copy(folder, tmp_path / 'absolute')}"
    own, _, _ = open_clip.create_model_and_transforms(name)
    tokens = open_clip.get_tokenizer(name)(PROMPTS)
    with torch.inference_mode():
        theirs = torch.nn.functional.normalize(own.eval().encode_text(tokens), dim=-1).numpy()
    assert np.abs(ours - theirs).max() <= 2e-5
    assert torch.equal(loaded.tokenizer(PROMPTS), tokens)
    assert tokens.shape[1] == CONTEXT[kind] == encoder.context_length == loaded.identity["context_length"]
    assert encoder.truncated(PROMPTS).tolist() == [False] * 6 + [True]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(ours) for b in ours[:i]) > 1e-3, "each has its own"


def test_padding_is_masked_by_xlm_r_and_part_of_siglips_function(tmp_path: Path) -> None:
    """XLM-R gives the same however far it is padded; SigLIP was trained on 64 places and must get them."""
    for kind, same in (("xlm-r", True), ("siglip", False)):
        loaded = load_model(str(build_tower(tmp_path / kind, kind)), device="cpu")
        full = loaded.tokenizer(["The nice dog."])
        used = int((full != loaded.tokenizer.tokenizer.pad_token_id).sum())
        with torch.inference_mode():
            padded, cut = (loaded.model.encode_text(t, normalize=True) for t in (full, full[:, :used]))
        assert full.shape[1] == CONTEXT[kind]
        assert bool((padded - cut).abs().max() < 1e-5) is same
        ours = TextEncoder.of(loaded).encode(["The nice dog."])
        assert np.abs(ours - padded.numpy()).max() <= 2e-5


def test_siglips_own_cleaning_and_another_context(tmp_path: Path) -> None:
    folder = build_tower(tmp_path / "model", "siglip", context_length=16)
    encoder = TextEncoder.of(load_model(str(folder), device="cpu"))
    assert encoder.context_length == 16
    plain, cased = encoder.encode(["dont the nice dog", "Don't: the NICE dog!"])
    assert np.abs(plain - cased).max() <= 1e-6, "canonicalize takes punctuation and case away"
    edit(folder, tokenizer_kwargs={"clean": "whitespace"})
    plain, cased = TextEncoder.of(load_model(str(folder), device="cpu")).encode(["the nice dog", "The NICE dog!"])
    assert np.abs(plain - cased).max() > 1e-3


def test_nllbs_language_is_the_tokenizers(tmp_path: Path) -> None:
    """`tokenizer_kwargs.src_lang` is the token that NLLB puts before the words."""
    import transformers

    if int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip("older transformers build this tokenizer from a sentencepiece file only")
    folder = build_tower(tmp_path / "model", "nllb")
    letters = "▁abcdefghijklmnopqrstuvwxyz"
    vocabulary = {t: i for i, t in enumerate(("<s>", "<pad>", "</s>", "<unk>", *letters))}
    special = ["eng_Latn", "fra_Latn"]
    transformers.NllbTokenizer(vocab=vocabulary, merges=[], extra_special_tokens=special).save_pretrained(folder)
    first = []
    for language in ("eng_Latn", "fra_Latn"):
        edit(folder, tokenizer_kwargs={"src_lang": language})
        tokenizer = load_model(str(folder), device="cpu").tokenizer
        first.append(tokenizer.tokenizer.convert_ids_to_tokens(int(tokenizer(["chien"])[0, 0])))
    assert first == ["eng_Latn", "fra_Latn"]


@pytest.mark.parametrize(("kind", "part"), [("xlm-r", "tower"), ("siglip2", ".")])
def test_encode_mine_and_score_from_a_folder(
    tmp_path: Path, kind: str, part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from neglabel.cli import main

    def neglabel(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["neglabel", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in (0, None), capsys.readouterr().err

    monkeypatch.chdir(tmp_path)
    build_tower(tmp_path / "model", kind, part)
    (tmp_path / "words.csv").write_text("word,pos,language\nchien,noun,fr\ndog,noun,en\n狗,noun,zh-Hant\nnice,,en\n")
    for name, colour in (("id/dog/1.png", "red"), ("ood/1.png", "blue")):
        Path(name).parent.mkdir(parents=True)
        Image.new("RGB", (40, 40), colour).save(name)
    neglabel(
        "encode", "words.csv:column=word", "--model", "model", "--prompt", "fr=le joli {}", "--prompt", "zh=漂亮的{}",
        "--device", "cpu", "--out", "store", "--quiet",
    )  # fmt: skip
    slow = "the text tower is run as it is" in " ".join(capsys.readouterr().err.split())
    assert slow == (kind == "siglip2"), "a tower without a fast path is said, also with --quiet"
    rows = pq.read_table(next(Path("store").glob("shard-*.parquet"))).to_pylist()
    encoder = TextEncoder.of(load_model("model", device="cpu"))
    wanted = encoder.encode(["le joli chien", "The nice dog.", "漂亮的狗", "The nice nice."])
    got = np.array([row["embedding"] for row in rows], np.float32)
    assert [row["text"] for row in rows] == ["chien", "dog", "狗", "nice"]
    assert np.abs(got - wanted).max() <= 1e-3  # stored in half precision
    Path("labels.txt").write_text("cat\nbird\n")
    neglabel("mine", "store", "--labels", "labels.txt", "--top", "3", "--device", "cpu", "--out", "negatives.parquet")
    neglabel(
        "score", "--negatives", "negatives.parquet", "--labels", "labels.txt", "--id", "pets=id", "--ood", "x=ood",
        "--device", "cpu", "--out", "scores",
    )  # fmt: skip
    assert pq.read_table("scores/scores-pets.parquet").num_rows == 1
    assert json.loads(Path("scores/manifest.json").read_text())["model"]["context_length"] == CONTEXT[kind]


@pytest.mark.parametrize(
    ("kind", "part", "lost", "changes", "says"),
    [
        ("xlm-r", ".", "config.json", {}, "config.json is missing; put it there"),
        ("xlm-r", "tower", "tower/tokenizer.json", {}, "/tower/tokenizer.json is missing; put it there"),
        ("xlm-r", ".", "config.json", {"hf_model_name": "xlm-roberta-base"},
         "has no text tower `xlm-roberta-base`: {}/config.json is missing, and the Hugging Face hub can't be reached"),
        ("siglip", ".", "tokenizer.json", {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"},
         "has no tokenizer `timm/ViT-B-16-SigLIP`: {}/tokenizer.json is missing, and the Hugging Face hub can't be"),
        ("nllb", ".", "", {"hf_pooler_type": "best"}, "no `hf_pooler_type` 'best'; valid: mean_pooler"),
        ("nllb", ".", "", {"hf_proj_type": None}, "`hf_proj_type` None doesn't lead from 32 to 24 dimensions"),
        ("xlm-r", ".", "", {"context_length": 89}, "`context_length` 89 is more than the text tower's 88 positions"),
        ("siglip", ".", "", {"tokenizer_kwargs": {"clean": "well"}}, "can't be read by transformers (Invalid clean"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_and_where_it_goes(
    tmp_path: Path, kind: str, part: str, lost: str, changes: dict[str, Any], says: str
) -> None:
    folder = build_tower(tmp_path / "model", kind, part)
    edit(folder, **changes)
    if lost:
        (folder / lost).unlink()
    with pytest.raises(NeglabelError) as error:
        load_model(str(folder), device="cpu")
    assert says.format(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    siglip, tower = build_tower(tmp_path / "s", "siglip"), build_tower(tmp_path / "x", "xlm-r")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tower / file).write_bytes((siglip / file).read_bytes())
    with pytest.raises(UsageError, match="pads with token 2, the text tower passes over 1"):
        load_model(str(tower), device="cpu")


@pytest.mark.parametrize(("file", "changes"), [
    ("config.json", {"model_type": "own", "auto_map": {"AutoConfig": "code.Own"}}),
    ("tokenizer_config.json", {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["code.Own", "code.Own"]}}),
])  # fmt: skip
def test_code_in_a_folder_is_never_run(tmp_path: Path, file: str, changes: dict[str, Any]) -> None:
    folder = build_tower(tmp_path / "model", "xlm-r")
    (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **changes}))
    (folder / "code.py").write_text(f"open({os.fspath(tmp_path / 'trace')!r}, 'w')")
    edit(folder, tokenizer_kwargs={"trust_remote_code": True})
    try:
        load_model(str(folder), device="cpu")
    except NeglabelError as error:
        assert "code of its own, which is never done" in str(error)  # noqa: PT017
    assert not (tmp_path / "trace").exists()


def test_a_towers_own_weights_beside_the_models(tmp_path: Path) -> None:
    folder = build_tower(tmp_path / "model", "xlm-r")
    before = load_model(str(folder), device="cpu").identity
    (folder / "model.safetensors").write_bytes(b"the text tower's alone")
    assert load_model(str(folder), device="cpu").identity == before
