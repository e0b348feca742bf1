"""The tensors of a TorchScript archive, without TorchScript: nothing of the archive is run.

OpenAI published CLIP as TorchScript. Such a file is a zip with ``data.pkl`` (the object tree), ``data/N`` (raw tensor
bytes) and ``code/``. The pickle is read here with every class replaced by an inert one, so it can build a tree of
tensors and nothing else.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

#: QuickGELU is x·σ(1.702·x): code that has the class's name or its constant uses it.
_QUICKGELU = (b"QuickGELU", b"1.702")
_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


class _Object:
    """Stands for any class of the archive: keeps its attributes, does nothing."""

    def __init__(self, *_: Any) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.attributes = state


def is_torchscript(path: Path) -> bool:
    """Whether ``path`` is a TorchScript archive: a zip with code beside the tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def uses_quickgelu(path: Path) -> bool | None:
    """True where the archive's code shows QuickGELU; None where it doesn't: inlined code may hide it."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "/code/" in name]
        return any(mark in name.encode() + archive.read(name) for name in names for mark in _QUICKGELU) or None


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The archive's tensors by their dotted names, as ``state_dict`` would give them.

    Raises:
        pickle.UnpicklingError: the pickle asks for anything but tensors and inert objects.
        KeyError, ValueError, RuntimeError: the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        root = pickled.removesuffix("data.pkl")

        class Reader(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                if module.startswith("__torch__"):
                    return _Object
                if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                    return _tensor
                if (module, name) == ("collections", "OrderedDict"):
                    return OrderedDict
                if module == "torch" and name in _DTYPES:
                    return _DTYPES[name]
                if module == "torch.jit._pickle" and name.startswith(("build_", "restore_type_tag")):
                    return lambda data, *_: data
                raise pickle.UnpicklingError(f"{module}.{name} is not weights only")

            def persistent_load(self, identity: Any) -> torch.Tensor:
                _, dtype, key, _, count = identity
                raw = archive.read(f"{root}data/{key}")
                return torch.frombuffer(bytearray(raw), dtype=dtype, count=int(count)) if count else torch.empty(0)

        with archive.open(pickled) as file:
            return dict(_walk(Reader(file).load(), ""))


def _tensor(storage: torch.Tensor, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    # as_strided checks that the view lies within the storage.
    return torch.as_strided(storage, tuple(size), tuple(stride), offset).clone()


def _walk(node: Any, prefix: str) -> Any:
    if isinstance(node, torch.Tensor):
        yield prefix[:-1], node
    elif isinstance(node, _Object):
        for name, child in node.attributes.items():
            yield from _walk(child, f"{prefix}{name}.")
