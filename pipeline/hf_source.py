"""``hf:`` models: where one lies (a folder, or the hub's cache), of which family it is, and which files it has.

Of such a place only numbers, words and tensors are read: JSON, vocabularies, safetensors. No code, no pickle.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from neglabel import NeglabelError, UsageError
from neglabel.corpora.hub_access import answers, first_line, offline, quiet

PREFIX = "hf:"
CONFIG = "config.json"
#: What is fetched of a repository, besides weights.
_FILES = ("*.json", "*.txt", "*.model")
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
_HUB_NAME = re.compile(r"(?P<repo>[\w-][\w.-]*(/[\w-][\w.-]*)?)(@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Family(NamedTuple):
    """``model`` is its class in transformers; ``context`` the tokens to which its authors cut and pad a prompt.

    ``mask_id`` is what prompts are padded with; None: with the tokenizer's own padding.
    """

    model: str
    context: int
    mask_id: int | None = None


#: By `model_type`. 64 is `AlignProcessor`'s, 77 that of FlagAI's AltCLIP and of CLIP. GroupViT's tokenizer pads with
#: the end token; 0, as CLIP's own has it, tells the two apart, and a causal tower doesn't see what is behind the end.
FAMILIES = {
    "align": Family("AlignModel", 64),
    "altclip": Family("AltCLIPModel", 77),
    "groupvit": Family("GroupViTModel", 77, 0),
}


@dataclass(frozen=True)
class HFSource:
    """A model before it is built. ``config`` is transformers' own; ``pretrained`` a commit, or the weights' file."""

    name: str
    folder: Path
    kind: str
    config: Any
    pretrained: str

    @property
    def family(self) -> Family:
        return FAMILIES[self.kind]

    @property
    def positions(self) -> int:
        """Tokens that the text tower has positions for."""
        text = self.config.text_config
        # RoBERTa, in AltCLIP, counts from behind the padding's index.
        return int(text.max_position_embeddings) - (int(text.pad_token_id) + 1 if self.kind == "altclip" else 0)

    @property
    def dimension(self) -> int:
        return int(self.config.projection_dim)

    def weights(self) -> list[Path]:
        """The files of weights. Raises UsageError where there are none in safetensors."""
        found = [path for pattern in _WEIGHTS for path in sorted(self.folder.glob(pattern))]
        if not found:
            raise UsageError(
                f"--model {self.name} has no {_WEIGHTS[0]} (a .bin can hold code and is not read); name a revision "
                f"that has one ({PREFIX}OWNER/NAME@REVISION), or write one with transformers' `save_pretrained`"
            )
        return found[:1] if found[0].name == _WEIGHTS[0] else found


def find(name: str, pretrained: str | None = None, weights: bool = True) -> HFSource:
    """Resolve ``hf:FOLDER`` or ``hf:OWNER/NAME[@REVISION]``; downloads what the hub's cache doesn't hold.

    Args:
        pretrained: None, or what an identity has there, which pins a model of the hub to its commit.
        weights: whether weights are needed; else only configuration and tokenizer are fetched.

    Raises:
        UsageError: no such place, a model of another family, transformers isn't installed.
        NeglabelError: the hub can't be reached, a file can't be read.
    """
    _need_transformers(name)
    place = name.removeprefix(PREFIX)
    if Path(place).is_dir():
        if pretrained not in (None, _WEIGHTS[0]):
            raise _no_pretrained(name, pretrained)
        kind, config = _config(name, Path(place))
        return HFSource(name, Path(place), kind, config, _WEIGHTS[0])
    parts = _HUB_NAME.fullmatch(place)
    if parts is None or pretrained == _WEIGHTS[0]:
        raise UsageError(f"--model {name}: no such folder; write hf:FOLDER, or hf:OWNER/NAME[@REVISION] for the hub")
    if pretrained is not None and not _COMMIT.fullmatch(pretrained):
        raise _no_pretrained(name, pretrained)
    repo, revision = parts["repo"], pretrained or parts["revision"]
    # First its kind, which is a kilobyte; then all, which may be gigabytes.
    folder = _fetch(name, repo, revision, (CONFIG,))
    kind, config = _config(name, folder)
    folder = _fetch(name, repo, folder.name, (*_FILES, *(_WEIGHTS if weights else ())))
    return HFSource(name, folder, kind, config, folder.name)


def context_length(source: HFSource, tokenizer_limit: int = 0) -> int:
    """Tokens to which a prompt is cut: as the family does, unless its text tower or its tokenizer takes fewer."""
    limits = (source.family.context, source.positions, tokenizer_limit)
    return min(limit for limit in limits if limit > 0)


def below(folder: Path, name: str) -> str:
    """``hf:FOLDER`` with its folder taken from ``folder``; names of the hub as they are."""
    place = folder / name.removeprefix(PREFIX)
    return f"{PREFIX}{place}" if place.is_dir() else name


def gist(error: BaseException) -> str:
    """What a library's error says, short enough for a sentence."""
    if "custom code" in str(error) or "trust_remote_code" in str(error):
        return "it asks to run code of its own, which is never done"
    return (first_line(error) or type(error).__name__)[:160].rstrip(".:")


def _need_transformers(name: str) -> None:
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise UsageError(f"--model {name} needs transformers: `pip install 'neglabel[transformers]'`") from None


def _no_pretrained(name: str, pretrained: str | None) -> UsageError:
    return UsageError(
        f"--pretrained {pretrained}: {name} has its own weights; leave it out (a revision of the hub is hf:…@REVISION)"
    )


def _config(name: str, folder: Path) -> tuple[str, Any]:
    """The model's type, and its configuration as transformers completes it."""
    import transformers

    path = folder / CONFIG
    if not path.is_file():
        raise UsageError(f"--model {name}: {folder} has no {CONFIG}; name a folder that `save_pretrained` wrote")
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        kind = str(whole["model_type"])
        if kind in FAMILIES:
            with quiet():
                return kind, getattr(transformers, FAMILIES[kind].model).config_class.from_dict(whole)
    except Exception as error:
        # json raises its own, and of a value of the wrong type each version of transformers another.
        raise NeglabelError(f"{path} can't be read as a configuration of transformers ({gist(error)})") from None
    raise UsageError(
        f"--model {name} is of type `{kind}`; through transformers only ALIGN, AltCLIP and GroupViT "
        f"({', '.join(FAMILIES)}) are read; CLIP and its like go through open_clip, under its names"
    )


def _fetch(name: str, repo: str, revision: str | None, files: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    reachable = answers(repo, "model")
    try:
        with quiet(), offline(not reachable):
            return Path(
                snapshot_download(repo, revision=revision, allow_patterns=list(files), local_files_only=not reachable)
            )
    except RevisionNotFoundError:
        raise UsageError(f"--model {name}: it has no revision `{revision}`; name a commit, tag or branch") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UsageError(f"--model {name}: no such folder, nor such a model on the hub (or it is private)") from None
    except Exception as error:
        # The HTTP library of the day has its own.
        why = f"it can't be downloaded ({gist(error)})" if reachable else "the Hugging Face hub can't be reached"
        raise NeglabelError(f"--model {name}: {why}; download it elsewhere and name its folder, hf:FOLDER") from None
