"""The peers of ``encode.py``, each at its best batch: open_clip, transformers, ONNX Runtime, OpenVINO."""

from __future__ import annotations

import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

BATCHES = (4, 8, 16, 32, 64, 128, 256)
Made = tuple[str, int, Any, float]


def encode_text(world: Any, few: int) -> Iterator[Made]:
    """``open_clip.encode_text`` on padded prompts: the unit of all ratios."""
    ids = torch.from_numpy(world.ids[:few])

    @torch.inference_mode()
    def run(batch: int, ids: Any = ids) -> Any:
        return torch.cat([F.normalize(world.model.encode_text(b), dim=-1) for b in ids.split(batch)]).numpy()

    batch = best(lambda size: run(size, ids[:128]), min(len(ids), 128))
    yield f"open_clip.encode_text, batch {batch}", len(ids), lambda: run(batch), 0.0


def transformers_peer(world: Any, few: int) -> Iterator[Made]:
    """``CLIPTextModelWithProjection`` with the same weights, sorted by token count, padded to the longest."""
    model = same_weights(world.model)

    @torch.inference_mode()
    def forward(ids: Any) -> Any:
        return F.normalize(model(input_ids=torch.from_numpy(ids)).text_embeds, dim=-1).numpy()

    yield from sorted_rows("transformers, sorted", world, few, forward)


def onnx_runtime(world: Any, few: int) -> Iterator[Made]:
    """ONNX Runtime on the same sorted batches."""
    import onnx  # noqa: F401  (the exporter needs both)
    import onnxruntime
    import onnxscript  # noqa: F401

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "text.onnx"
        shape = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=77)}
        torch.onnx.export(
            Embeds(world.model), (torch.from_numpy(world.ids[:4, :12]),), str(path), input_names=["ids"],
            dynamic_shapes=(shape,), dynamo=True, verbose=False,
        )  # fmt: skip
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(str(path), str(path.with_suffix(".8")), weight_type=QuantType.QInt8)
        for kind, file in (("", path), (", int8 (dynamic)", path.with_suffix(".8"))):
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            name = session.get_inputs()[0].name
            yield from sorted_rows(
                f"ONNX Runtime, sorted{kind}", world, few,
                lambda ids, session=session, name=name: session.run(None, {name: ids})[0],
            )  # fmt: skip


def openvino(world: Any, few: int) -> Iterator[Made]:
    """OpenVINO on the same sorted batches, told to compute in float32."""
    import openvino as ov

    example = torch.from_numpy(world.ids[:4, :12])
    core = ov.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()})
    shape = (ov.PartialShape([-1, -1]), ov.Type.i64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = ov.convert_model(Embeds(world.model), example_input=example, input=[shape])
    compiled = core.compile_model(converted, "CPU")
    yield from sorted_rows("OpenVINO, sorted", world, few, lambda ids: compiled([ids])[0])


def sorted_rows(name: str, world: Any, few: int, forward: Callable[[Any], Any]) -> Iterator[Made]:
    # A quarter of the prompts: sorted and padded, each costs as much in a smaller corpus (ours share beginnings).
    ids = np.concatenate([world.ids[: len(world.expected)], world.ids[len(world.expected) :: 4]])
    lengths = ids.argmax(axis=1) + 1
    order = np.argsort(lengths, kind="stable")

    def run(batch: int, order: Any = order) -> Any:
        result = np.empty((len(ids), world.expected.shape[1]), np.float32)
        for i in range(0, len(order), batch):
            rows = order[i : i + batch]
            result[rows] = forward(np.ascontiguousarray(ids[rows, : lengths[rows].max()]))
        return result

    # The best batch is sought on runs of neighbours out of all lengths, so that it pads as the whole does.
    places = np.linspace(0, max(len(order) - 256, 0), max(few // 256, 1)).astype(int)
    sample = np.concatenate([order[i : i + 256] for i in places])
    batch = best(lambda size: run(size, sample), len(sample))
    yield f"{name}, batch {batch}", len(order), lambda: run(batch), 0.0


def named_machine() -> str:
    """The processor, what PyTorch uses of it, its threads and version."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    name = f"{names[0]} × {len(names)}" if names else platform.processor() or platform.machine()
    threads, capability = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return f"{name}, {capability}, {threads} threads, torch {torch.__version__}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def best(run: Callable[[int], Any], count: int) -> int:
    """The batch with the shortest of two runs."""
    taken = {}
    for batch in (b for b in BATCHES if b <= max(count, BATCHES[0])):
        for _ in range(2):
            start = time.perf_counter()
            run(batch)
            taken[batch] = min(taken.get(batch, float("inf")), time.perf_counter() - start)
    return min(taken, key=taken.__getitem__)


class Embeds(torch.nn.Module):
    """transformers' tower with the unit embedding as its only output, for exporters."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner = same_weights(model)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.inner(input_ids=ids).text_embeds, dim=-1)


def same_weights(model: Any) -> Any:
    """transformers' ``CLIPTextModelWithProjection`` holding an open_clip model's weights."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    width, end = model.positional_embedding.shape[1], model.vocab_size - 1
    blocks = model.transformer.resblocks
    activation = "quick_gelu" if type(blocks[0].mlp.gelu).__name__ == "QuickGELU" else "gelu"
    peer = CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=model.vocab_size, hidden_size=width, intermediate_size=blocks[0].mlp.c_fc.out_features,
        projection_dim=model.text_projection.shape[1], num_hidden_layers=len(blocks),
        num_attention_heads=blocks[0].attn.num_heads, max_position_embeddings=model.context_length,
        hidden_act=activation, bos_token_id=end - 1, eos_token_id=end, pad_token_id=0,
    )).eval().requires_grad_(False)  # fmt: skip
    state = {
        "embeddings.token_embedding.weight": model.token_embedding.weight,
        "embeddings.position_embedding.weight": model.positional_embedding,
        "final_layer_norm.weight": model.ln_final.weight,
        "final_layer_norm.bias": model.ln_final.bias,
    }
    for i, block in enumerate(blocks):
        here = f"encoder.layers.{i}."
        for kind in ("weight", "bias"):
            split = getattr(block.attn, f"in_proj_{kind}").chunk(3)
            for name, part in zip("qkv", split, strict=True):
                state[f"{here}self_attn.{name}_proj.{kind}"] = part
            for name, module in (
                ("self_attn.out_proj", block.attn.out_proj), ("layer_norm1", block.ln_1), ("mlp.fc1", block.mlp.c_fc),
                ("layer_norm2", block.ln_2), ("mlp.fc2", block.mlp.c_proj),
            ):  # fmt: skip
                state[f"{here}{name}.{kind}"] = getattr(module, kind)
    state = {f"text_model.{k}": v for k, v in state.items()}
    missing = peer.load_state_dict({**state, "text_projection.weight": model.text_projection.T}, strict=False)
    assert not missing.unexpected_keys, missing
    assert not [k for k in missing.missing_keys if "position_ids" not in k], missing
    return peer
