"""The parts of the demo as processes: started, spoken to and ended here."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
TRITON = ROOT / ".venvs" / "tritonclient" / "bin" / "python"
POLL_S = 0.1


class DemoFailed(Exception):
    """What did not come out as it should; the message says where to look."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One site's WAN: the demo's secret. One-way delay, each way's throughput."""

    site: str
    delay_ms: float
    mbps: float


LEGS = (Leg("edge-a", 4, 50), Leg("edge-b", 7, 50), Leg("edge-c", 45, 20))


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass(slots=True)
class Stage:
    """Addresses, environment and processes of one run; everything is below `folder`."""

    folder: Path
    control: str
    gateway: str
    link: str
    enrolment: str
    lan: dict[str, str]
    wans: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    agents: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {
            "SKERRY_HOME": str(self.folder / "state"),
            "SKERRY_CONTROL": self.control,
            "SKERRY_GATEWAY": self.gateway,
            "SKERRY_LINK": self.link,
            "SKERRY_ENROLMENT": self.enrolment,
            "SKERRY_ZONE": "city",
        }

    def skerry(self, *arguments: str, capture: bool = True, limit_s: float = 180.0, codes: Sequence[int] = (0,)) -> str:
        """The command as a user types it. Raises DemoFailed when it ends with another code than `codes`."""
        try:
            done = subprocess.run(
                [BIN / "skerry", *arguments],
                env=self.environ,
                text=True,
                stdout=subprocess.PIPE if capture else None,
                stderr=subprocess.PIPE if capture else None,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as err:
            raise DemoFailed(f"skerry {' '.join(arguments)}: no end after {limit_s:g} s") from err
        if done.returncode not in codes:
            raise DemoFailed(
                f"skerry {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout or ''}{done.stderr or ''}"
            )
        return done.stdout or ""

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.skerry("get", kind, name, "-o", "json"))
        return found

    def explain(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.skerry("explain", service, "-o", "json"))
        return found

    def plan(self, file: Path) -> dict[str, Any]:
        """What applying the file would change. 2: there are changes."""
        found: dict[str, Any] = json.loads(self.skerry("plan", "-f", str(file), "-o", "json", codes=(0, 2)))
        return found

    def replays(self, newest: int) -> dict[str, bool]:
        """Of the newest decisions, whether each is equal when it is made again. 3: it is not."""
        kept = json.loads(self.skerry("get", "decisions", "-o", "json"))["items"][:newest]
        replayed = [json.loads(self.skerry("replay", one["id"], "-o", "json", codes=(0, 3))) for one in kept]
        return {one["decision"]: one["equal"] for one in replayed}

    def start_wan(self, leg: Leg) -> str:
        """The address at which the agent reaches the front over this link."""
        command = [sys.executable, "-m", "benchmarks.demo.wan", "--to", self.link]
        process = subprocess.Popen(
            [*command, "--delay-ms", str(leg.delay_ms), "--mbps", str(leg.mbps)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.wans[leg.site] = process
        assert process.stdout is not None
        return f"127.0.0.1:{process.stdout.readline().strip()}"

    def change_wan(self, site: str, order: str) -> None:
        stdin = self.wans[site].stdin
        assert stdin is not None
        stdin.write(f"{order}\n")
        stdin.flush()

    def join(self, site: str) -> None:
        """As an operator and a machine do it: a token from here, a key and a certificate there. Raises DemoFailed."""
        token = self.folder / f"{site}.token"
        token.write_text(self.skerry("token", "create", "--site", site, "--ttl", "10m"))
        command = [BIN / "skerry-edge", "join", self.enrolment, "--token-file", token, "--node", f"{site}-1"]
        done = subprocess.run(
            [*command, "--state-dir", self.folder / site, "--no-run"],
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise DemoFailed(f"{site}-1 could not join: {done.stderr.strip()}")

    def start_agent(self, site: str, front: str) -> None:
        """One that has joined. `front`: where its WAN brings it to the front."""
        with (self.folder / f"{site}.log").open("wb") as log:
            self.agents[site] = subprocess.Popen(
                [
                    *(BIN / "skerry-edge", "run", "--state-dir", str(self.folder / site)),
                    *("--front", front, "--lan", self.lan[site]),
                    *("--memory-mib", "256", "--cores", "2", "--probe-interval-s", "0.25"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def client(self, mode: str, address: str, *more: str) -> subprocess.Popen[str]:
        """The unmodified client, in its own environment."""
        images = str(self.folder / "test-images.npz")
        command = [TRITON, HERE / "client.py", mode, "--address", address, "--images", images]
        return subprocess.Popen([*command, *more], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def answer_of(client: subprocess.Popen[str], limit_s: float = 60.0) -> dict[str, Any]:
    try:
        out, err = client.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as late:
        client.kill()
        raise DemoFailed(f"the client did not end within {limit_s:g} s") from late
    if client.returncode != 0:
        raise DemoFailed(f"the client failed: {err.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(out)
    return found


def wait_for(what: str, holds: Callable[[], bool], limit_s: float) -> float:
    """Seconds until it holds. Raises DemoFailed at the limit."""
    start_s = time.monotonic()
    while not holds():
        if time.monotonic() - start_s > limit_s:
            raise DemoFailed(f"{what}: not within {limit_s:g} s")
        time.sleep(POLL_S)
    return time.monotonic() - start_s


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A fresh folder and free ports; whatever was started is ended, also after a failure."""
    # An earlier demo may still run: its terminal was closed, say.
    subprocess.run(
        [BIN / "skerry", "down"],
        env=os.environ | {"SKERRY_HOME": str(folder / "state")},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ports = free_ports(4 + len(LEGS))
    addresses = [f"127.0.0.1:{port}" for port in ports]
    lan = dict(zip((leg.site for leg in LEGS), addresses[4:], strict=True))
    built = Stage(folder, *addresses[:4], lan)
    try:
        yield built
    finally:
        for agent in built.agents.values():
            agent.send_signal(signal.SIGTERM)
        for wan in built.wans.values():
            for pipe in (wan.stdin, wan.stdout):
                assert pipe is not None
                pipe.close()
        for process in [*built.agents.values(), *built.wans.values()]:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        subprocess.run([BIN / "skerry", "down"], env=built.environ, stdout=subprocess.DEVNULL, check=False)
