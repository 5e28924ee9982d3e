"""The processes of a run: the one that is measured on a core of its own, the fleet on the others."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

SERVER_CORE = 0
PER_PROCESS = 2_500
ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def other_cores() -> set[int]:
    cores = os.sched_getaffinity(0)
    return cores - {SERVER_CORE} or cores


def started(*command: str, cores: set[int], **more: Any) -> "subprocess.Popen[bytes]":
    """A Python module as a process bound to `cores`: by taskset, since grpc's threads forbid code after a fork."""
    bound = ("taskset", "--cpu-list", ",".join(map(str, sorted(cores))))
    return subprocess.Popen([*bound, sys.executable, "-m", *command], cwd=ROOT, **more)


@dataclass
class Server:
    """The measured process: the front, or the bare server in its place."""

    command: tuple[str, ...]
    address: str
    log: Path
    process: "subprocess.Popen[bytes]" = field(init=False)

    def start(self) -> "Server":
        with self.log.open("ab") as log:
            self.process = started(*self.command, cores={SERVER_CORE}, stderr=log, stdout=log)
        return self

    def wait_listening(self, within_s: float = 20.0) -> None:
        host, _, port = self.address.rpartition(":")
        until(lambda: _answers(host, int(port)), within_s, "the server listens")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def rss_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def cpu_s(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


class Fleet:
    """`count` light nodes, a few thousand a process."""

    def __init__(self, front: str, count: int, heartbeat_s: float) -> None:
        self._said: list[dict[str, Any]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        for first in range(0, count, PER_PROCESS):
            options = ("--front", front, "--first", str(first), "--count", str(min(PER_PROCESS, count - first)))
            process = started(
                "benchmarks.fleet.clients",
                *options,
                *("--heartbeat-s", str(heartbeat_s)),
                cores=other_cores(),
                stdout=subprocess.PIPE,
            )
            self._processes.append(process)
            self._said.append({})
            threading.Thread(target=self._listen, args=(len(self._said) - 1, process), daemon=True).start()

    @property
    def pids(self) -> set[int]:
        return {process.pid for process in self._processes}

    def total(self, what: str) -> int:
        return sum(int(said.get(what, 0)) for said in self._said)

    def errors(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for said in self._said:
            for name, count in said.get("errors", {}).items():
                found[name] = found.get(name, 0) + count
        return found

    def cpu_s(self) -> float:
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in self.pids)

    def cut(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _listen(self, index: int, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout
        for line in process.stdout:
            self._said[index] = json.loads(line)


def until(seen: Callable[[], bool], within_s: float, what: str) -> float:
    """Seconds until it was so. Raises TimeoutError."""
    began_s = time.monotonic()
    while not seen():
        if time.monotonic() - began_s > within_s:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        time.sleep(0.05)
    return time.monotonic() - began_s


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
