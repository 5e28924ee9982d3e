"""A front and agents, on real connections and real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_front import WAIT_S, FakeFront

from protos.inference.v2 import inference_pb2 as oip
from protos.link.v1 import link_pb2 as pb

MODELS = Path(__file__).parent.parent / "inference" / "models"
DENSE = (MODELS / "dense.tflite").read_bytes()
DENSE_V2 = (MODELS / "dense_v2.tflite").read_bytes()
SKERRY_EDGE = (sys.executable, "-m", "workers.edge.command")


@pytest.fixture
async def front() -> AsyncIterator[FakeFront]:
    front = FakeFront()
    await front.start()
    yield front
    await front.stop()


@dataclass
class Node:
    """One agent's process."""

    state_dir: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    program: tuple[str, ...] = SKERRY_EDGE

    def start(self, front: str, lan: str = "none", *more: str) -> subprocess.Popen[bytes]:
        return self.command("run", "--site", "s1", "--node", "n1", "--front", front, "--lan", lan, *more)

    def command(self, verb: str, *options: str, **variables: str) -> subprocess.Popen[bytes]:
        """One that serves, with `variables` in its environment."""
        command = [*self.program, verb, *options, "--state-dir", str(self.state_dir), "--probe-interval-s", "0.05"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **variables})
        return self.process

    def told(self, verb: str, *options: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One that ends by itself."""
        command = [*self.program, verb, *options, "--state-dir", str(self.state_dir)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=3 * WAIT_S)

    def status(self) -> dict[str, Any]:
        """What `skerry-edge status` says, without a process for it."""
        path = self.state_dir / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(signal_number)
        return self.process.wait(WAIT_S)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state", tmp_path / "agent.log")
    yield node
    if node.process and node.process.poll() is None:
        node.process.kill()
        node.process.wait(WAIT_S)
    if node.log.exists():
        print(node.log.read_text())  # pytest shows it when the test fails


def wait_for(fulfilled: Callable[[], Any], what: str) -> Any:
    """Poll what no event tells: another process's files and ports."""
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        if found := fulfilled():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {WAIT_S} s")


def replica(name: str, artifact: pb.Artifact, version: str = "v1", **fields: Any) -> pb.ReplicaAssignment:
    given = {"namespace": "default", "service": "dense", "valid_offline_s": 3600, "decision": "d1", **fields}
    return pb.ReplicaAssignment(replica=name, version=version, artifact=artifact, **given)


def infer_request(model: str = "dense", columns: int = 4) -> bytes:
    message = oip.ModelInferRequest(model_name=model, id="7")
    message.inputs.add(name="x", datatype="FP32", shape=(1, columns))
    message.raw_input_contents.append(np.ones((1, columns), "<f4").tobytes())
    return message.SerializeToString()
