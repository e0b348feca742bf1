"""Workers of a Ray started by this process: found, and killed as a machine would."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path


def workers() -> list[int]:
    """Processes of Ray's actors below this process that do a job now."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
            names[int(place.name)] = (place / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile

    def ours(process: int) -> bool:
        while process in parents:
            if process == os.getpid():
                return True
            process = parents[process]
        return False

    return sorted(process for process, name in names.items() if name.startswith("ray::Host.work") and ours(process))


class Killer(threading.Thread):
    """Sends SIGKILL to a worker as soon as ``when()`` is true, ``times`` times; ``killed`` counts."""

    def __init__(self, when: Callable[[], bool], times: int = 1) -> None:
        super().__init__(daemon=True)
        self.when, self.times, self.killed, self.over = when, times, 0, threading.Event()

    def run(self) -> None:
        while self.killed < self.times and not self.over.wait(0.005):
            if self.when() and (there := workers()):
                os.kill(there[self.killed % len(there)], signal.SIGKILL)
                self.killed += 1
                time.sleep(0.5)

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()
