"""`python -m benchmarks.edge`: an agent in a fresh environment made of locks/edge.lock, serving one small model.

Memory: resident set while attached to a front, probing, after 2,000 calls on the LAN. Start: from exec to the first OK
answer, from disk, no front there. Disk: the environment as `uv` installs it, with Skerry's own wheel. The bounds are
DESIGN.md section 5's; those came from the dependency set alone: 67 MiB, 0.4 s, 153 MiB. Isolation: the same model in
the agent's process and in one of its own, one agent beside the other in the same run.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import psutil

from benchmarks.edge.isolation import isolation
from benchmarks.edge.running import (
    INFER,
    ROOT,
    START_WAIT_S,
    Figure,
    agent,
    attached_to,
    call_until_ok,
    free_port,
    held,
    request,
    status_mib,
)

UV = Path(sys.executable).parent / "uv"
STARTS = 7
CALLS = 2_000
ATTACHED_S = 5.0  # before its memory is read


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=__doc__)
    parser.add_argument("--venv", type=Path, help="an environment made before; skips the install")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        venv = options.venv or install(scratch)
        figures = [disk(venv), start(venv, scratch), memory(venv, scratch), *isolation(venv, scratch)]
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


if __name__ == "__main__":
    sys.exit(main())
