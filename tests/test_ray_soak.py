"""A node that is removed and a driver that is killed: with `--engine ray` the next worker, or the next run, goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from .test_encode import COMMAND, write_words
from .test_mine_work import candidates_in
from .test_ray import SHARD, alike, manifest_of, mined, run

ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'neglabel[ray]' to test it")
pytestmark = pytest.mark.soak


@pytest.fixture
def two_nodes() -> Any:
    """A cluster of a head without processors and two nodes of one each, joined by this process."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(cluster.address, log_to_driver=False)
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def remove_when(cluster: Any, node: Any, when: Any) -> threading.Thread:
    def wait() -> None:
        until = time.monotonic() + 300
        while not when() and time.monotonic() < until:
            time.sleep(0.01)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_node_that_is_removed_costs_no_shard(tmp_path: Path, two_nodes: Any, tiny_model: Path) -> None:
    cluster, nodes = two_nodes
    words = write_words(tmp_path / "words.txt", 16 * SHARD)
    run(tmp_path / "calm", words, tiny_model, engine="local")
    out = tmp_path / "out"
    thread = remove_when(cluster, nodes[0], lambda: len(list(out.glob("shard-*"))) >= 4)
    summary = run(out, words, tiny_model)
    thread.join()
    assert summary["encoded"] == manifest_of(out)["counts"]["candidates"]
    alike(out, tmp_path / "calm")
    # The node that is left mines as well.
    place = candidates_in(tmp_path)
    mined(place, "ray.parquet")
    mined(place, "local.parquet", engine="local")
    import pyarrow.parquet as pq

    assert pq.read_table(place / "ray.parquet").equals(pq.read_table(place / "local.parquet"))


def test_a_driver_that_is_killed_leaves_what_was_recorded_and_the_next_goes_on(
    tmp_path: Path, tiny_model: Path
) -> None:
    words = write_words(tmp_path / "words.txt", 24 * SHARD)
    run(tmp_path / "calm", words, tiny_model, engine="local")
    out = tmp_path / "out"
    options = ["--model", str(tiny_model), "--shard-rows", str(SHARD), "--device", "cpu", "--engine", "ray"]
    command = [*COMMAND, "encode", str(words), "--out", str(out), *options, "--workers", "1", "--quiet"]
    assert sys.executable == command[0]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, env=os.environ)
    while process.poll() is None and len(list(out.glob("shard-*"))) < 6:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the kill must fall while shards are written"
    recorded = json.loads((out / "manifest.json").read_text())["shards"]
    assert 0 < len(recorded) < 24
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    total = manifest_of(tmp_path / "calm")["counts"]["candidates"]
    assert json.loads(done.stdout)["encoded"] <= total - sum(record["rows"] for record in recorded)
    alike(out, tmp_path / "calm")
