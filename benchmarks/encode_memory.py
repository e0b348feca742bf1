"""Peak memory of `encode` for few and many words, whole processes. One command:

    python benchmarks/encode_memory.py [--words 100000 1000000] [--layers 2] [--json memory.json]

A text tower of ViT-B-16's widths with random weights and `--layers` layers, so that a CPU is through in minutes; words
of three syllables. Memory is the high-water mark that the kernel keeps of the process (Linux), and the largest of
samples every 20 ms from the time on that the store's manifest is there: by then the model is loaded, its image tower
let go.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

ENCODE = """
import sys, threading, time
from pathlib import Path
from neglabel.pipeline.encode import encode
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings
words, out, model = sys.argv[1:]
def kilobytes(name):
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith(name)))
encoding = [0]
def watch():
    while True:
        if Path(out, "manifest.json").exists():
            encoding[0] = max(encoding[0], kilobytes("VmRSS"))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
summary = encode(EncodeSettings(corpus=(words,), out=out, model=model, quickgelu=False), Reporter(quiet=True))
print(kilobytes("VmHWM"), encoding[0], summary["encoded"], summary["seconds"])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("memory.json"))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, size, text_size = model_folder(Path(scratch) / "model", options.layers)
        print(f"{date.today()}, {options.layers} layers, weights {size / 1e9:.2f} GB, {text_size / 1e9:.2f} of text")
        for count in options.words:
            text = Path(scratch) / f"{count}.txt"
            text.write_text("\n".join(itertools.islice(words(), count)) + "\n")
            command = [sys.executable, "-W", "ignore", "-c", ENCODE, str(text), f"{scratch}/{count}", str(folder)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
            peak, encoding, encoded = (int(number) for number in said[:3])
            assert encoded == count
            rows.append({
                "words": count, "peak_bytes": peak * 1024, "encoding_bytes": encoding * 1024, "seconds": float(said[3])
            })  # fmt: skip
            # The image tower is let go before encoding begins.
            above, later = (peak * 1024 - size) / 1e9, (encoding * 1024 - text_size) / 1e9
            print(
                f"{count:>10,} words: peak {peak * 1024 / 1e9:.2f} GB, {above:.2f} above both towers; while encoding "
                f"{encoding * 1024 / 1e9:.2f} GB, {later:.2f} above the text tower; {float(said[3]):.0f} s",
                flush=True,
            )
    sizes = {"weights_bytes": size, "text_bytes": text_size}
    result = {"date": str(date.today()), "layers": options.layers, **sizes, "rows": rows}
    options.json.write_text(json.dumps(result, indent=1) + "\n")


def words() -> Any:
    syllables = [c + v for c in "bcdfghjklmnpqrstvwz" for v in ("a", "e", "i", "o", "u", "an", "en", "in", "on", "un")]
    return ("".join(parts) for parts in itertools.product(syllables, repeat=3))


def model_folder(folder: Path, layers: int) -> tuple[Path, int, int]:
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = open_clip.get_model_config("ViT-B-16")
    config["text_cfg"]["layers"] = layers
    torch.manual_seed(0)
    state = {k: v.contiguous() for k, v in open_clip.CLIP(**config).state_dict().items()}
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(state, folder / "open_clip_model.safetensors")
    sizes = {name: v.numel() * v.element_size() for name, v in state.items()}
    return folder, sum(sizes.values()), sum(n for name, n in sizes.items() if not name.startswith("visual."))


if __name__ == "__main__":
    main()
