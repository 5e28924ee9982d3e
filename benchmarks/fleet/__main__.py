"""`python -m benchmarks.fleet [--nodes 10000]`: one front on one core, its fleet on the others.

Light nodes (`node`) speak the real link over a connection each; the control plane's end is the real one but for what
decides. What a connection costs by itself is measured in the same run on a bare grpc.aio server, and taken off.
Plain text on loopback.
"""

import argparse
import contextlib
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fleet.control import ControlEnd
from benchmarks.fleet.parts import Fleet, Server, free_port, other_cores, until
from benchmarks.fleet.simulation import SimulatedFleet
from benchmarks.fleet.uplink import uplink

ATTACH_WITHIN_S = 300.0
WATCHED_S = 30.0
SETTLE_S = 12.0
CUT = 1_000  # nodes that lose their WAN at once
PARTS = "bare,front,cut,uplink,simulated"
SIMULATED = 100_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--heartbeat-s", type=float, default=10.0)
    parser.add_argument("--parts", default=PARTS, help="of %(default)s, those to run")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated fleet")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    os.sched_setaffinity(0, other_cores())
    print(f"machine: {platform.node()}, {os.cpu_count()} cores, {platform.platform()}, load {os.getloadavg()[0]:.1f}")
    parts = options.parts.split(",")
    with tempfile.TemporaryDirectory() as folder:
        bare_bytes = bare(Path(folder), options.nodes, options.heartbeat_s) if "bare" in parts else None
        if "front" in parts:
            with contextlib.ExitStack() as ends:
                measure(FrontRun(Path(folder), options.nodes, options.heartbeat_s, ends), bare_bytes)
        if "cut" in parts:
            with contextlib.ExitStack() as ends:
                cut(FrontRun(Path(folder), CUT, options.heartbeat_s, ends))
        if "uplink" in parts:
            with contextlib.ExitStack() as ends:
                uplink(Path(folder), FrontRun(Path(folder), 0, options.heartbeat_s, ends).server.address)
    if "simulated" in parts:
        simulated(options.seed)
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    return 0


def bare(folder: Path, nodes: int, heartbeat_s: float) -> float:
    """Bytes of resident memory per connection."""
    address = f"127.0.0.1:{free_port()}"
    server = Server(("benchmarks.fleet.bare", address), address, folder / "bare.log").start()
    with contextlib.ExitStack() as ends:
        ends.callback(server.kill)
        server.wait_listening()
        empty_bytes = server.rss_bytes
        fleet = Fleet(address, nodes, heartbeat_s)
        ends.callback(fleet.stop)
        took_s = until(lambda: fleet.total("attached") == nodes, ATTACH_WITHIN_S, f"{fleet.errors()}")
        print(f"bare: all attached after {took_s:.1f} s, {server.cpu_s:.1f} CPU-s")
        time.sleep(SETTLE_S)
        share, _ = watched(server, fleet)
        per_node_bytes = (server.rss_bytes - empty_bytes) / nodes
        print(f"bare: {share:.1%} of its core, {per_node_bytes / 1024:.2f} KiB per connection")
        return per_node_bytes


class FrontRun:
    """A front that serves `nodes` light nodes, each with one replica, between them and the control plane's end."""

    def __init__(self, folder: Path, nodes: int, heartbeat_s: float, ends: contextlib.ExitStack) -> None:
        self.nodes, self._heartbeat_s, self._ends = nodes, heartbeat_s, ends
        state_dir = Path(tempfile.mkdtemp(dir=folder))
        control_port, address = free_port(), f"127.0.0.1:{free_port()}"
        self.control = ControlEnd(control_port, nodes)
        command = ("orchestrator.front", "--name", "fleet", "--control", f"127.0.0.1:{control_port}", "--link", address)
        command += ("--gateway", f"127.0.0.1:{free_port()}", "--artifacts", str(state_dir / "artifacts"))
        command += ("--state-dir", str(state_dir), "--heartbeat-s", str(heartbeat_s))
        self.server = Server(command, address, state_dir / "front.log").start()
        ends.callback(lambda: self.server.kill())
        self.server.wait_listening()
        time.sleep(2.0)

    def fleet(self) -> Fleet:
        """All of it attached and reconciled."""
        fleet = Fleet(self.server.address, self.nodes, self._heartbeat_s)
        self._ends.callback(fleet.stop)
        self.until_reconciled(fleet)
        return fleet

    def until_reconciled(self, fleet: Fleet) -> float:
        """Seconds until the control plane knows of every node that it holds what it is assigned."""
        return until(lambda: self.control.reconciled() == self.nodes, ATTACH_WITHIN_S, f"reconciled: {fleet.errors()}")


def measure(run: FrontRun, bare_bytes: float | None) -> None:
    """CPU and memory at rest, then the front dies."""
    server, nodes, empty_bytes, began_s = run.server, run.nodes, run.server.rss_bytes, time.monotonic()
    fleet = run.fleet()
    took_s = time.monotonic() - began_s
    print(f"front: all reconciled after {took_s:.1f} s, {server.cpu_s:.1f} CPU-s, {told(fleet)}")
    time.sleep(SETTLE_S)
    share, clients = watched(server, fleet)
    per_node_bytes = (server.rss_bytes - empty_bytes) / nodes
    print(f"front: {share:.1%} of its core idle, clients {clients:.1%}; {per_node_bytes / 1024:.2f} KiB per node")
    if bare_bytes is not None:
        print(f"front: {(per_node_bytes - bare_bytes) / 1024:.2f} KiB per node beyond its connection")
    changed = fleet.total("assignments")
    server.kill()
    began_s = time.monotonic()
    server.start()
    until(lambda: run.control.reconciled() < nodes, 30.0, "the control plane notices")
    run.until_reconciled(fleet)
    took_s = time.monotonic() - began_s
    changed = fleet.total("assignments") - changed
    print(
        f"front killed and started again: all {nodes} back after {took_s:.1f} s, {server.cpu_s:.1f} CPU-s, "
        f"{told(fleet)}, assignments that changed {changed}"
    )


def cut(run: FrontRun) -> None:
    """The front stays; all nodes lose it at once."""
    fleet = run.fleet()
    time.sleep(2.0)
    attaches, changed, began_s = fleet.total("attaches"), fleet.total("assignments"), time.monotonic()
    fleet.cut()
    until(lambda: fleet.total("attaches") == attaches + run.nodes, ATTACH_WITHIN_S, f"all dial again: {fleet.errors()}")
    run.until_reconciled(fleet)
    took_s, changed = time.monotonic() - began_s, fleet.total("assignments") - changed
    print(
        f"{run.nodes} nodes cut at once: all reconciled after {took_s:.1f} s (read once a second), "
        f"assignments that changed {changed}, {told(fleet)}"
    )


def simulated(seed: int) -> None:
    began_s = time.monotonic()
    fleet = SimulatedFleet(SIMULATED, seed)
    looked = fleet.run()
    print(
        f"simulated, seed {seed}: {SIMULATED} nodes, {len(fleet.faults)} faults in {fleet.now_s:.0f} s, {looked.beats} "
        f"beats, {looked.attaches} attachments, {looked.told_to_wait} told to wait"
    )
    print(
        f"simulated: {looked.most_unknown} unknown at once, {looked.held_back} held by the brake, {looked.lost} lost; "
        f"all back {looked.back_s:.1f} s after the last heal; took {time.monotonic() - began_s:.0f} s"
    )


def told(fleet: Fleet) -> str:
    return f"told to wait {fleet.total('told_to_wait')}, failed dials {fleet.errors()}"


def watched(server: Server, fleet: Fleet) -> tuple[float, float]:
    """Shares of one core that the server and its clients took."""
    began_s, cpu_s, clients_s = time.monotonic(), server.cpu_s, fleet.cpu_s()
    time.sleep(WATCHED_S)
    took_s = time.monotonic() - began_s
    return (server.cpu_s - cpu_s) / took_s, (fleet.cpu_s() - clients_s) / took_s


if __name__ == "__main__":
    sys.exit(main())
