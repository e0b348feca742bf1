"""A million titles on a GPU, and mining and scoring there, side by side with open_clip and PyTorch in one
run. One command:

    python benchmarks/gpu.py [--titles 1000000] [--from FILE ...] [--part encode|search|all] [--quick] [--json gpu.json]

ViT-B-16 with random weights. `encode_text` gets a sample of the prompts, padded, at its best batch; `tower` is ours
from token ids to embeddings in the CPU's memory; `end to end` is the stage `encode` from a text file to Parquet.
`of peak`: FLOPs of the matrix products over the rate that the card reached for 8192³ products of random numbers in this
run. `--quick` runs a few titles on whatever there is, to try the script. Parts in ``gpu_*.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import warnings
from dataclasses import asdict
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from gpu_rows import CUDA, end_to_end, ours, padded, peak, peer_end_to_end
from gpu_titles import titles

from neglabel.pipeline.models import load_model

NAME, PROMPT = "ViT-B-16-quickgelu", "the nice {}"
DTYPES = {"fp16": torch.float16, "fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", type=int, default=1_000_000)
    parser.add_argument("--from", type=Path, nargs="*", default=[], dest="files", help="files of titles, one a line")
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=["fp16", "bf16", "fp32"])
    parser.add_argument("--part", choices=["encode", "search", "all"], default="all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--commands", type=int, default=3, help="how often `encode` is run as a command as well")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    quick, repeats = options.quick, 2 if options.quick else options.repeats
    count = 300 if quick else options.titles
    card = torch.cuda.get_device_name() if CUDA else "no GPU: this tries the script"
    result: dict[str, Any] = {"date": str(date.today()), "device": card, "torch": torch.__version__}
    print(f"{result['date']}, {card}, torch {torch.__version__}")
    if options.part != "search":
        result |= encode_part(options, count, repeats, quick)
    if options.part != "encode":
        from gpu_score import score_part
        from gpu_search import search_part  # FAISS is needed from here on

        result["search"] = search_part(quick, repeats)
        result["score"] = score_part(quick, repeats)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def model_folder(folder: Path) -> Path:
    """A folder of the model with random weights, as `encode` takes it."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = open_clip.create_model(NAME, load_weights=False)
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config(NAME), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def encode_part(options: Any, count: int, repeats: int, quick: bool) -> dict[str, Any]:
    made, how = titles(count, options.files)
    prompts = [PROMPT.format(title) for title in made]
    result: dict[str, Any] = {"titles": how, "peaks": {}, "rows": []}
    precisions = options.precisions if CUDA else ["fp32"]
    print(f"titles: {how}\n{'':46} {'prompts':>9} {'seconds':>9} {'prompts/s':>12} {'ratio':>8} {'of peak':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        model, text = model_folder(Path(scratch) / "model"), Path(scratch) / "titles.txt"
        text.write_text("\n".join(made) + "\n", encoding="utf-8")
        for number, precision in enumerate(precisions):
            rate = peak(DTYPES[precision], 512 if quick else 8192)
            result["peaks"][precision] = rate
            print(f"products, {precision}: {rate / 1e12:.1f} TFLOP/s")
            loaded = load_model(str(model), precision=precision)
            few = 32 if quick else 16_384 if precision != "fp32" else 4_096
            batches = (16, 32) if quick else (256, 512, 1024, 2048, 4096)
            peer, theirs = padded(loaded, loaded.tokenizer(prompts[:few]).numpy(), rate, repeats, batches)
            some = prompts if number == 0 else prompts[: max(count // 4, few)]
            rows = chain([peer], ours(loaded, some, rate, repeats, theirs, 0 if number else repeats))
            if number == 0:
                few = min(count, 300 if quick else 65_536)
                ends = end_to_end(model, text, count, precision, repeats, options.commands)
                rows = chain(rows, peer_end_to_end(loaded, text, few, 32 if quick else 1024), ends)
            base = peer.count / statistics.median(peer.seconds)
            for row in rows:
                print(row.show(base), flush=True)
                ratio = row.count / statistics.median(row.seconds) / base
                result["rows"].append({**asdict(row), "ratio": ratio})
                options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            del loaded
    return result


if __name__ == "__main__":
    main()
