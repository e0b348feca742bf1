"""Reading a checkpoint file as weights only: no pickled code is ever run."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.torchscript import is_torchscript, read_tensors, uses_quickgelu

#: Bytes of weights after which a mapped file is mapped anew: what was read of it counts as this process's memory.
_PORTION = 1 << 27
#: Tensors of TorchScript archives that are no weights: sizes, and the causal mask, which a model makes itself.
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")


def load_weights(model: torch.nn.Module, path: Path) -> str:
    """Load ``path`` into ``model``: ``.safetensors``, a ``.pt`` state dict, or OpenAI's TorchScript ``.pt``.

    State dicts of other projects go through open_clip's own conversions; position embeddings of another resolution
    or context are refused, not interpolated.

    Returns:
        SHA-256 of the weights (names, shapes, float32 values): the same for each file format.

    Raises:
        UsageError: the weights are of another architecture.
        NeglabelError: not a checkpoint, damaged, or a pickle that holds more than tensors.
    """
    from open_clip.factory import load_checkpoint

    try:
        if path.suffix in (".npz", ".npy"):
            load_checkpoint(model, str(path))
            return digest(model.state_dict())
        state = _fit(read_state(path), model)
    except (pickle.UnpicklingError, RuntimeError) as error:
        if isinstance(error, pickle.UnpicklingError) or "weights" in str(error).lower():
            raise NeglabelError(
                f"{path} holds more than tensors, or none, and is not unpickled; "
                "save its state dict, or use .safetensors"
            ) from None
        raise NeglabelError(f"{path} can't be read as a checkpoint ({_gist(error)})") from None
    except Exception as error:
        # safetensors, zipfile and struct raise their own: all mean that the file is no whole checkpoint.
        raise NeglabelError(f"{path} can't be read as a checkpoint ({_gist(error)})") from None
    try:
        return _fill(model, state, path)
    except RuntimeError as error:
        raise UsageError(f"{path} holds weights of another architecture ({_gist(error)}); name its --model") from None


def read_state(path: Path) -> dict[str, Any]:
    """A checkpoint's state dict, from any of the formats."""
    from open_clip.factory import load_state_dict

    if is_torchscript(path):
        return {k: v for k, v in read_tensors(path).items() if k.rpartition(".")[2] not in _NOT_WEIGHTS}
    state = load_state_dict(str(path), device="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError("it is no state dict")
    return state


def quickgelu_of(path: Path) -> bool | None:
    """Whether a TorchScript archive uses QuickGELU, read from its code; None for other files: they can't tell."""
    return uses_quickgelu(path) if is_torchscript(path) else None


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, shapes and float32 values, in the order of names."""
    result = hashlib.sha256()
    for name in sorted(state):
        _add(result, name, state[name])
    return result.hexdigest()


def digest_files(paths: Sequence[Path]) -> str:
    """:func:`digest` of the tensors that ``paths`` (safetensors) hold together, one in memory at a time."""
    from safetensors import safe_open

    result = hashlib.sha256()
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(path, framework="pt")) for path in paths]
        holder = {name: file for file in files for name in file.keys()}  # noqa: SIM118
        for name in sorted(holder):
            _add(result, name, holder[name].get_tensor(name))
    return result.hexdigest()


def _add(result: Any, name: str, tensor: torch.Tensor) -> None:
    tensor = tensor.detach().float().contiguous().cpu()
    result.update(f"{name}{tuple(tensor.shape)}".encode())
    # No copy: a token table may have a gigabyte.
    result.update(tensor.reshape(-1).numpy().data)


def _fill(model: torch.nn.Module, state: dict[str, Any], path: Path) -> str:
    """``load_state_dict`` and :func:`digest` in one go, so that a mapped file is never in memory as a whole."""
    targets = model.state_dict()
    if {name: t.shape for name, t in targets.items()} != {name: t.shape for name, t in state.items()}:
        # It knows what may be missing, and says what may not.
        model.load_state_dict(state)
        return digest(state)
    mapped, read, part = path.suffix == ".safetensors", _PORTION, state
    result = hashlib.sha256()
    for name in sorted(state):
        if mapped and read >= _PORTION:
            # ``state`` itself stays untouched.
            part, read = _fit(read_state(path), model), 0
        targets[name].copy_(part[name])
        _add(result, name, part[name])
        read += part[name].nbytes
    return result.hexdigest()


def _fit(state: dict[str, Any], model: Any) -> dict[str, Any]:
    """The steps of open_clip's ``load_checkpoint`` that rename; not those that resize."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for scalar in ("logit_scale", "logit_bias"):
        target = getattr(model, scalar, None)
        if scalar in state and target is not None:
            state[scalar] = state[scalar].reshape(target.shape)
    position_ids = "text.transformer.embeddings.position_ids"
    if position_ids not in model.state_dict():
        state.pop(position_ids, None)
    return state


def _gist(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    gist = (lines[1] if len(lines) > 1 and lines[0].startswith("Error(s)") else lines[0])[:120].rstrip(".")
    return gist if " " in gist else f"{type(error).__name__} {gist}"
