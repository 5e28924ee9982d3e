"""`python -m benchmarks.edge`: an agent in a fresh environment made of locks/edge.lock, serving one small model.

Memory: resident set while attached to a front, probing, after 2,000 calls on the LAN. Start: from exec to the first OK
answer, from disk, no front there. Disk: the environment as `uv` installs it, with Skerry's own wheel. The bounds are
DESIGN.md section 5's; those came from the dependency set alone: 67 MiB, 0.4 s, 153 MiB.
"""

import argparse
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from protos.inference.v2 import inference_pb2 as oip
from workers.artifacts.digest import digest_of_file
from workers.artifacts.disk import ArtifactFolder
from workers.edge.assignment import Artifact, Assignment, Content, ReplicaAssignment
from workers.edge.state import StateFolder

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "inference" / "models" / "dense.tflite"
INFER = "/inference.GRPCInferenceService/ModelInfer"
UV = Path(sys.executable).parent / "uv"
STARTS = 7
CALLS = 2_000
ATTACHED_S = 5.0  # before its memory is read
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=__doc__)
    parser.add_argument("--venv", type=Path, help="an environment made before; skips the install")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        venv = options.venv or install(scratch)
        figures = [disk(venv), start(venv, scratch), memory(venv, scratch)]
    print(f"machine: {platform.node()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.platform()}")
    for figure in figures:
        print(figure.line())
    return 0 if all(figure.value <= figure.bound for figure in figures) else 1


def install(scratch: Path) -> Path:
    """As `pip install skerry[edge]` would, from the hashed lock."""
    venv = scratch / "venv"
    python = ["--python", str(venv / "bin" / "python")]
    run(str(UV), "venv", "-q", "--python", sys.executable, str(venv))
    run(str(UV), "pip", "sync", "-q", *python, "--require-hashes", str(ROOT / "locks" / "edge.lock"))
    run(
        str(UV),
        "build",
        "-q",
        "--wheel",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "-o",
        str(scratch),
        str(ROOT),
    )
    run(str(UV), "pip", "install", "-q", *python, "--no-deps", *map(str, scratch.glob("*.whl")))
    return venv


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def disk(venv: Path) -> Figure:
    files = [path.lstat() for path in venv.rglob("*") if not path.is_symlink() and path.is_file()]
    size_bytes = sum(each.st_blocks * 512 for each in files)
    return Figure("installed", size_bytes / 2**20, 170, "MiB", "before its first start writes bytecode")


def start(venv: Path, scratch: Path) -> Figure:
    """The first start is not counted: it compiles what uv installed."""
    taken_s, cpu_s = [], []
    for number in range(STARTS + 1):
        began_s = time.perf_counter()
        with agent(venv, held(scratch / "start"), f"127.0.0.1:{free_port()}") as (lan, process):
            call_until_ok(lan)
            if number:
                taken_s.append(time.perf_counter() - began_s)
                cpu_s.append(sum(psutil.Process(process.pid).cpu_times()[:2]))
    note = f"median of {STARTS} starts, worst {max(taken_s):.2f} s, CPU {statistics.median(cpu_s):.2f} s"
    return Figure("exec to first OK answer", statistics.median(taken_s), 1.0, "s", note)


def memory(venv: Path, scratch: Path) -> Figure:
    with attached_to() as front, agent(venv, held(scratch / "memory"), front) as (lan, process):
        call_until_ok(lan)
        with grpc.insecure_channel(lan) as channel:
            infer = channel.unary_unary(INFER)
            for _ in range(CALLS):
                infer(request(), timeout=START_WAIT_S)
        time.sleep(ATTACHED_S)
        note = f"attached and probing, {CALLS} calls, peak {status_mib(process, 'VmHWM'):.1f} MiB"
        return Figure("resident, one small model", status_mib(process, "VmRSS"), 80, "MiB", note)


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


def held(root: Path) -> Path:
    """A state folder that holds one model and the assignment for it, as a former run left it."""
    folder = StateFolder(root)
    digest, size_bytes = digest_of_file(MODEL)
    with ArtifactFolder(folder.artifacts).partial(digest, size_bytes) as partial:
        partial.append(MODEL.read_bytes()[partial.offset :])
        partial.commit()
    content = Content("r1", "default", "dense", "v1", Artifact(digest, size_bytes, "tflite"))
    folder.save_assignment(Assignment(1, (ReplicaAssignment(content, 1 << 20, "d1", 86_400, draining=False),)))
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


if __name__ == "__main__":
    sys.exit(main())
