"""`encode --dry-run` over a generated dump of titles: peak memory and time of the whole command.

    python benchmarks/dry_run.py [TITLES] [FOLDER]      # 20,000,000 titles, about 160 MB gz, kept in FOLDER

Titles are made of WordNet's words (packaged): two words, a share with a parenthesis, accents or Chinese, and every
tenth line repeats an earlier title in other letters, so the number of distinct ones is known and checked.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from neglabel.corpora import open_corpus
from neglabel.corpora.text import normalise

SUFFIXES = ("", "", "", "", "", "_(film)", "_(surname)", "_(footballer,_born_1987)", "_(disambiguation)", "_in_Tokyo")
ACCENTS = str.maketrans("aeinou", "áéïñöû")
#: A prime, so that i ↦ i · STEP mod (pairs) meets every pair of words once in no visible order.
STEP = 2_147_483_647


def vocabulary() -> list[str]:
    """Distinct words without a space: WordNet's, a fifth with accents, a tenth in Chinese letters."""
    words: dict[str, str] = {}
    for number, candidate in enumerate(open_corpus("wordnet")):
        word = candidate.text
        if " " in word or not word.isascii():
            continue
        if number % 10 == 0:
            word = "".join(chr(0x4E00 + ord(c) * 31 % 20_000) for c in word[:4])
        elif number % 5 == 1:
            word = word.translate(ACCENTS)
        words.setdefault(normalise(word), word)
    return list(words.values())


def titles(count: int) -> Iterator[str]:
    """``count`` titles, a tenth of them repeats."""
    words = vocabulary()
    pairs = len(words) * len(words)
    for i in range(count):
        repeat = i % 10 == 9
        place = (i - 1 - (i % 997) * 10 if repeat and i > 10_000 else i - repeat) * STEP % pairs
        first, second = words[place // len(words)], words[place % len(words)]
        title = f"{first}_{second}{SUFFIXES[place % 10]}"
        yield title.upper() if repeat else f"{title[0].upper()}{title[1:]}"


def distinct(count: int) -> int:
    return count - count // 10


def write(path: Path, count: int) -> None:
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1, newline="\n") as file:
        file.write("page_title\n")
        buffer: list[str] = []
        for title in titles(count):
            buffer.append(title)
            if len(buffer) == 100_000:
                file.write("\n".join(buffer) + "\n")
                buffer.clear()
        file.write("".join(title + "\n" for title in buffer))


def resident(process: int) -> int:
    """Bytes of a process and all below it now, as Linux counts them; 0 where it is gone or there is no /proc."""
    try:
        fields = Path(f"/proc/{process}/statm").read_text().split()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


class Watch(threading.Thread):
    """The highest sum of a process tree's resident memory, looked at ten times a second."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.done = process, 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.1):
            self.peak = max(self.peak, resident(self.process))


def main() -> None:
    count = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 20_000_000
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.gettempdir())
    path = folder / f"enwiki-generated-{count}-all-titles-in-ns0.gz"
    if not path.exists():
        started = time.monotonic()
        write(path.with_suffix(".part"), count)
        path.with_suffix(".part").rename(path)
        print(f"generated {path} ({path.stat().st_size / 1e6:.0f} MB) in {time.monotonic() - started:.0f} s")
    code = "from neglabel.cli import main; main()"
    command = [sys.executable, "-c", code, "encode", f"wikipedia:path={path}", "--dry-run", "--json", *sys.argv[3:]]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    watch = Watch(process.pid)
    watch.start()
    assert process.stdout is not None
    output = process.stdout.read()
    # wait4 gives the peak of this process and of what it waited for, as /usr/bin/time does.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        sys.exit(f"encode --dry-run failed (status {status})")
    estimate = json.loads(output)
    print(json.dumps(estimate, indent=1, ensure_ascii=False))
    found = estimate["counts"]["candidates"]
    watch.done.set()
    print(
        f"{count:,} titles: {seconds:.0f} s ({estimate['word_seconds']:.0f} s of it for the words), peak memory "
        f"{usage.ru_maxrss * 1024 / 1e9:.2f} GB in the largest process, {watch.peak / 1e9:.2f} GB in all at one time"
    )
    if "--sample" not in sys.argv and found != distinct(count):
        sys.exit(f"{found:,} distinct titles instead of {distinct(count):,}")


if __name__ == "__main__":
    main()
