"""What a process of its own costs a replica, beside the same replica in the agent's process, in one run.

Calls of the two alternate in blocks, so that whatever else the machine does meets both. The bounds: claims count 64 MiB
for a process; a call may take as much more as the gateway's hop may (DESIGN.md section 5); a start twice what was seen.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import psutil

from benchmarks.edge.running import INFER, START_WAIT_S, Figure, agent, call_until_ok, free_port, held, request
from workers.edge.assignment import Isolation

BLOCKS, CALLS_PER_BLOCK = 20, 150
STARTS = 5


def isolation(venv: Path, scratch: Path) -> list[Figure]:
    shared_s, own_s = (starts_s(venv, scratch, where) for where in (Isolation.SHARED, Isolation.PROCESS))
    with ExitStack() as running:
        calls: list[Callable[[], object]] = []
        processes: list[psutil.Process] = []
        for where in (Isolation.SHARED, Isolation.PROCESS):
            folder = held(scratch / f"calls-{where}", where)
            lan, process = running.enter_context(agent(venv, folder, f"127.0.0.1:{free_port()}"))
            call_until_ok(lan)
            channel = running.enter_context(grpc.insecure_channel(lan))
            infer, payload = channel.unary_unary(INFER), request()
            calls.append(lambda infer=infer, payload=payload: infer(payload, timeout=START_WAIT_S))
            processes.append(psutil.Process(process.pid))
        shared_ms, own_ms = alternating_ms(calls)
        (child,) = processes[1].children()
        pss, rss = (getattr(child.memory_full_info(), field) / 2**20 for field in ("pss", "rss"))
        both = sum(one.memory_full_info().pss for one in (processes[1], child)) / 2**20
        alone = processes[0].memory_full_info().pss / 2**20
    p50s, p99s = ([float(np.percentile(ms, q)) for ms in (shared_ms, own_ms)] for q in (50, 99))
    starts = f"median {own_s:.2f} s, shared {shared_s:.2f} s, of {STARTS} each"
    memory = f"resident {rss:.1f} MiB; agent and replica {both:.1f} MiB, shared {alone:.1f} MiB (proportional)"
    times = f"p50 {p50s[1]:.3f} ms, shared {p50s[0]:.3f} ms; p99 {p99s[1]:.3f}, shared {p99s[0]:.3f}"
    return [
        Figure("process apart: own memory", pss, 64, "MiB", memory),
        Figure(
            "process apart: p50 added", p50s[1] - p50s[0], 0.5, "ms", f"{times}; {BLOCKS * CALLS_PER_BLOCK} calls each"
        ),
        Figure("process apart: start added", own_s - shared_s, 0.6, "s", starts),
    ]


def starts_s(venv: Path, scratch: Path, where: Isolation) -> float:
    """From exec of the agent to its first OK answer; not the first, which compiles and tries the model."""
    folder, taken_s = held(scratch / f"start-{where}", where), []
    for _ in range(STARTS + 1):
        began_s = time.perf_counter()
        with agent(venv, folder, f"127.0.0.1:{free_port()}") as (lan, _process):
            call_until_ok(lan)
            taken_s.append(time.perf_counter() - began_s)
    return float(np.median(taken_s[1:]))


def alternating_ms(calls: list[Callable[[], object]]) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in calls]
    for block in range(BLOCKS + 1):
        for call, ms in zip(calls, found, strict=True):
            for _ in range(CALLS_PER_BLOCK):
                began_s = time.perf_counter()
                call()
                if block:  # the first warms up
                    ms.append((time.perf_counter() - began_s) * 1000)
    return found
