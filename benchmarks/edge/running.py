"""An agent's process for the benchmarks: started in an environment of its own, called on its LAN, looked at."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from protos.inference.v2 import inference_pb2 as oip
from workers.artifacts.digest import digest_of_bytes, digest_of_file
from workers.artifacts.disk import ArtifactFolder
from workers.artifacts.signing import SigningKey
from workers.artifacts.trust import Trust
from workers.edge.assignment import Artifact, Assignment, Content, Isolation, ReplicaAssignment
from workers.edge.state import StateFolder

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "inference" / "models" / "dense.tflite"
INFER = "/inference.GRPCInferenceService/ModelInfer"
MEMORY_BYTES = 128 << 20
START_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    bound: float
    unit: str
    note: str

    def line(self) -> str:
        verdict = "ok" if self.value <= self.bound else "MISSED"
        return f"{self.name:<28} {self.value:>9.2f} {self.unit:<4} <= {self.bound:<6g} {verdict:<7} {self.note}"


def status_mib(process: "subprocess.Popen[bytes]", field: str) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


@contextmanager
def attached_to() -> Iterator[str]:
    """The address of a front in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.edge.front"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()


@contextmanager
def agent(venv: Path, state_dir: Path, front: str) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    lan = f"127.0.0.1:{free_port()}"
    command = [str(venv / "bin" / "skerry-edge"), "run", "--site", "bench", "--node", "bench-1", "--front", front]
    command += ["--lan", lan, "--state-dir", str(state_dir), "--log-level", "error"]
    with subprocess.Popen(command, cwd=state_dir, stderr=subprocess.DEVNULL) as process:
        try:
            yield lan, process
        finally:
            process.terminate()


def held(root: Path, isolation: Isolation = Isolation.SHARED) -> Path:
    """A state folder that holds one signed model and the assignment for it, as a former run left it."""
    folder, key = StateFolder(root), SigningKey.opened(root.with_suffix(".key"))
    artifacts, (digest, size_bytes) = ArtifactFolder(folder.artifacts), digest_of_file(MODEL)
    with artifacts.partial(digest, size_bytes) as partial:
        partial.append(MODEL.read_bytes()[partial.offset :])
        partial.commit()
    signed = key.sign(MODEL.name, digest, digest)  # it has no manifest: any digest stands for one
    artifacts.papers.keep(digest, signed)
    artifact = Artifact(digest, size_bytes, "tflite", signature=digest_of_bytes(signed))
    content = Content("r1", "default", "dense", "v1", artifact, isolation)
    replica = ReplicaAssignment(content, MEMORY_BYTES, "d1", 86_400, draining=False, compute_millis=1000)
    folder.save_assignment(Assignment(1, (replica,), Trust(keys=(key.public_der,), valid_s=86_400)))
    folder.close()
    return root


def call_until_ok(address: str) -> None:
    end_s = time.monotonic() + START_WAIT_S
    wait_for_port(address, end_s)
    with grpc.insecure_channel(address) as channel:
        infer = channel.unary_unary(INFER)
        while True:
            try:
                infer(request(), timeout=START_WAIT_S)
                return
            except grpc.RpcError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.005)


def wait_for_port(address: str, end_s: float) -> None:
    host, _, port = address.rpartition(":")
    while time.monotonic() < end_s:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.005)
    raise TimeoutError(f"nothing listened on {address} within {START_WAIT_S:.0f} s")


def request() -> bytes:
    message = oip.ModelInferRequest(model_name="dense", raw_input_contents=[bytes(16)])
    message.inputs.add(name="x", datatype="FP32", shape=(1, 4))
    return message.SerializeToString()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
