"""`python -m benchmarks.serving`: at most a minute. The server is bound to one core, the client to another.

Rounds alternate between the servers, so that whatever else the machine does meets both; medians are compared.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np

from benchmarks.serving.models import SHAPES
from protos.inference.v2 import inference_pb2 as pb

CALLERS = 32
FIGURES = {"tiny": 7_000, "cnn": 5_000}  # req/s, DESIGN.md section 5
START_TIMEOUT_S = 30.0
BUDGET_S = 55.0  # for all of it, making the models included; no round begins that would pass it
MODELS = Path(".skerry/benchmark-models")
Results = dict[tuple[str, str], list[dict[str, float]]]  # by (model, server), a row per round


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window-s", type=float, default=1.2)
    options = parser.parse_args()
    end_s = time.monotonic() + BUDGET_S
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("this benchmark needs two cores: one for the server, one for the client", file=sys.stderr)
        return 1
    payloads = prepare(MODELS)
    servers = {
        "skerry": ["workers.inference", *(f"{name}={MODELS / name}.tflite" for name in SHAPES), "--port", "0"],
        "bare": ["benchmarks.serving.bare", str(MODELS)],
    }
    report(measure(servers, payloads, cores, options.rounds, options.window_s, end_s))
    return 0


def prepare(folder: Path) -> dict[str, Path]:
    """The models, made on the first run, and a request for each."""
    if not all((folder / f"{name}.tflite").exists() for name in SHAPES):
        subprocess.run(
            [sys.executable, "-m", "benchmarks.serving.models", str(folder)], check=True, capture_output=True
        )
    payloads = {}
    for name, shape in SHAPES.items():
        x = np.random.default_rng(7).random(shape, np.float32)
        request = pb.ModelInferRequest(model_name=name, raw_input_contents=[x.tobytes()])
        request.inputs.add(name=input_name(folder / f"{name}.tflite"), datatype="FP32", shape=shape)
        payloads[name] = folder / f"{name}.request"
        payloads[name].write_bytes(request.SerializeToString())
    return payloads


def input_name(path: Path) -> str:
    from workers.inference.describe import describe_model

    return describe_model(path, "tflite").inputs[0].name


def measure(
    servers: dict[str, list[str]],
    payloads: dict[str, Path],
    cores: Sequence[int],
    rounds: int,
    window_s: float,
    end_s: float,
) -> Results:
    """At least one round; then as many as wanted, while another like the last one ends before `end_s`."""
    results: Results = {}
    took_s = 0.0
    for number in range(rounds):
        begun_s = time.monotonic()
        if number and begun_s + took_s > end_s:
            break
        # Every other round backwards: whatever grows or fades meanwhile favours neither.
        for server in sorted(servers, reverse=number % 2 == 1):
            with running(servers[server], cores[0]) as (address, pid):
                for model, payload in payloads.items():
                    result = one_cell(address, pid, payload, cores[1], window_s)
                    results.setdefault((model, server), []).append(result)
        took_s = time.monotonic() - begun_s
    return results


def one_cell(address: str, pid: int, payload: Path, core: int, window_s: float) -> dict[str, float]:
    check_one(address, payload)
    before_s = cpu_of(pid)
    result = client(address, payload, core, window_s)
    result["cpu_ms"] = (cpu_of(pid) - before_s) * 1000 / result["calls"]
    return result


@contextmanager
def running(module: list[str], core: int) -> Iterator[tuple[str, int]]:
    """Its address and process id (`taskset` becomes the server)."""
    command = ["taskset", "-c", str(core), sys.executable, "-m", *module]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            end_s = time.monotonic() + START_TIMEOUT_S
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("serving on "):
                    yield line.split()[2], process.pid
                    break
                assert time.monotonic() < end_s, f"{module[0]} did not start"
            else:
                raise RuntimeError(f"{module[0]} ended before it served: run python -m {' '.join(module)}")
        finally:
            process.kill()


def cpu_of(pid: int) -> float:
    """Seconds of processor time so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_one(address: str, payload: Path) -> None:
    """One call through gRPC: the load generator itself reads no status."""
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(payload.read_bytes(), timeout=10)


def client(address: str, payload: Path, core: int, window_s: float) -> dict[str, float]:
    command = ["taskset", "-c", str(core), sys.executable, "-m", "benchmarks.serving.client", address, str(payload)]
    options = ["--callers", str(CALLERS), "--window-s", str(window_s)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, timeout=60)
    result: dict[str, float] = json.loads(done.stdout)
    assert not result["failed"], f"{result['failed']} calls were not answered"
    return result


def report(results: Results) -> None:
    rounds = min(map(len, results.values()))
    print(machine())
    print(f"server on one core, client on another, {CALLERS} callers, median of {rounds} rounds (lowest - highest)")
    head = f"{'model':6} {'server':7} {'req/s':>22} {'of bare':>8} {'CPU ms per call':>24} {'of bare':>8}"
    print(f"{head} {'p50 ms':>8} {'p99 ms':>8}")
    for (model, server), rows in sorted(results.items()):
        bare = results[model, "bare"]
        rps, cpu, p50, p99 = (median(rows, key) for key in ("rps", "cpu_ms", "p50_ms", "p99_ms"))
        speed, cost = rps / median(bare, "rps"), cpu / median(bare, "cpu_ms")
        ours = f"{spread(rows, 'rps', 0):>22} {speed:8.2f} {spread(rows, 'cpu_ms', 3):>24} {cost:8.2f}"
        print(f"{model:6} {server:7} {ours} {p50:8.2f} {p99:8.2f}")
    busy = max(median(rows, "client_busy") for rows in results.values())
    print(f"the client's core was {busy:.0%} busy with it; on a shared machine trust CPU ms before req/s")
    for model, figure in FIGURES.items():
        ours, bare_rps = median(results[model, "skerry"], "rps"), median(results[model, "bare"], "rps")
        verdict = "reaches" if ours >= figure else "MISSES"
        print(f"{model}: {ours:.0f} req/s {verdict} the figure of {figure}; the bare server has {bare_rps:.0f} here")


def spread(rows: list[dict[str, float]], key: str, digits: int) -> str:
    values = [row[key] for row in rows]
    return f"{median(rows, key):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def median(rows: list[dict[str, float]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.machine())
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {system}, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
