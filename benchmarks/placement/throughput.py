"""`python -m benchmarks.placement throughput`: replicas placed per second, from the store and back into it.

One tick of the real placement loop over a real SQLite store in a folder of its own: objects read, snapshot taken of
what a front reported, decision made, claims and assignments committed and published. There is no region, and nothing
is started: a scheduler's benchmark binds to hollow nodes too. Beside it stand the floors that kube-scheduler's own
performance tests hold at 5,000 nodes (test/integration/scheduler_perf, pods per second): 220 with node affinity, 680
for plain pods; they are of other machines, and leave out what a latency objective or a price takes.
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from orchestrator.clock import SystemClock
from orchestrator.control.board import Board
from orchestrator.control.full_plans import FullPlans
from orchestrator.control.observations import Observations
from orchestrator.control.placing import PlacementLoop
from orchestrator.model.ids import NodeName
from orchestrator.model.running import CloudReplicas
from orchestrator.model.stored import Batch, Json, Lease, Owner, Put
from orchestrator.objects import key_of, labels_of, spec_of, validate
from orchestrator.reconcile.peers import Held
from orchestrator.settings import PLAN_ALL_EVERY_S, PLAN_ALL_PAIRS
from orchestrator.store import open_store
from orchestrator.store.sql import SqlStore
from protos.link.v1 import link_pb2

console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
FLOORS = {"kube-scheduler's floor, plain pods": 680, "kube-scheduler's floor, node affinity": 220}
LEASE_S = 3_600.0


class NoPapers:
    """Implements control's Papers seam: nothing is said of what nobody fetches."""

    trust = None

    async def described(self, assigned: Mapping[NodeName, Held]) -> dict[NodeName, Held]:
        return dict(assigned)


class NoRegion:
    """Implements control's Cloud seam: no service of this benchmark may use the region."""

    async def deploy(self, wanted: Sequence[CloudReplicas]) -> None: ...

    async def problems(self) -> Mapping[tuple[str, str], str]:
        return {}


@dataclass(frozen=True, slots=True)
class Round:
    """Of one fresh store. `idle_s`: a tick that finds nothing to do."""

    tick_s: float
    idle_s: float
    claims: int
    assigned: int


def documents(nodes: int, services: int, replicas: int) -> Iterator[dict[str, Json]]:
    def document(kind: str, name: str, spec: Json, labels: Json = None) -> dict[str, Json]:
        meta: dict[str, Json] = {"name": name}
        if labels:
            meta["labels"] = labels
        return {"apiVersion": "skerry.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}

    yield document("Site", "local", {"kind": "region", "jurisdiction": "EU", "quota": {"memory_mib": 1, "cores": 1}})
    yield document("Zone", "city", {"region": "local"})
    for node in range(nodes):
        labels: Json = {"gpu": "true" if node % 2 else "false"}
        yield document("Site", f"edge-{node:05}", {"kind": "edge", "jurisdiction": "EU"}, labels)
    for number in range(services):
        half = "true" if number % 2 else "false"
        yield document(
            "PlacementPolicy",
            f"policy-{number}",
            {
                "latency": {"p99_ms": 60},
                "required": [f"site.labels.gpu == '{half}'" if number % 4 else "site.kind == 'edge'"],
                "replicas": {"min": replicas, "max": 2 * replicas},
                "cost": {"burst_to_cloud": False},
            },
        )
        built: Json = {
            "variant": "litert-fp32",
            "artifact": {"digest": f"sha256:{number:064x}", "size_bytes": 1000, "format": "tflite"},
            "memory_mib": 256,
            "cores": 0.5,
            "accuracy": 0.97,
            "latency": {"p50_ms": 1, "p99_ms": 2},
        }
        yield document("ModelVersion", f"model-{number}-1", {"model": f"model-{number}", "variants": [built]})
        demand: Json = [{"zone": "city", "rate_rps": 50, "request_bytes": 400, "response_bytes": 100}]
        spec: Json = {"model": f"model-{number}", "policy": f"policy-{number}", "demand": demand}
        yield document("ModelService", f"service-{number}", spec)


def report(nodes: int, seed: int) -> link_pb2.FrontReport:
    """All nodes on one front, each on a leg of its own."""
    rtts_ms = np.random.Generator(np.random.PCG64(seed)).uniform(2, 40, nodes)

    def state(node: int) -> link_pb2.NodeState:
        site, rtt_ms = f"edge-{node:05}", float(rtts_ms[node])
        leg = link_pb2.LegEstimate(source=f"site/{site}", target="front/f", rtt_p50_ms=rtt_ms, rtt_p99_ms=rtt_ms)
        leg.samples, leg.method, leg.up_bps, leg.down_bps = 9, "made-up", 1e8, 1e8
        hello = link_pb2.NodeHello(node=f"{site}-1", site=site, epoch=1, memory_bytes=2 << 30, compute_millis=4000)
        return link_pb2.NodeState(hello=hello, report=link_pb2.NodeReport(legs=[leg]), attached=True)

    return link_pb2.FrontReport(nodes=[state(node) for node in range(nodes)])


async def one_round(folder: Path, options: argparse.Namespace) -> Round:
    store = open_store(f"sqlite:///{folder / 'store.db'}")
    try:
        _write(store, options)
        clock, observations, board = SystemClock(), Observations(), Board()
        observations.front_attached(link_pb2.FrontHello(front="f", region="local"), clock.now_s())
        observations.front_reported("f", report(options.nodes, options.seed), clock.now_s())  # type: ignore[arg-type]
        ids = (f"{number:08x}" for number in count())
        full_plans = FullPlans(clock, PLAN_ALL_PAIRS, PLAN_ALL_EVERY_S)
        loop = PlacementLoop(store, NoRegion(), observations, board, clock, "local", ids, full_plans, NoPapers())
        lease = store.acquire_lease("leader", "benchmark", LEASE_S)
        tick_s = await _tick(loop, lease)
        claims, assigned = len(store.claims()), sum(len(a.replicas) for a in board.published.assignments.values())
        return Round(tick_s, await _tick(loop, lease), claims, assigned)
    finally:
        store.close()


def _write(store: SqlStore, options: argparse.Namespace) -> None:
    forms = [validate(one) for one in documents(options.nodes, options.services, options.replicas)]
    puts = tuple(Put(key_of(form), Owner.COMMAND, 0, spec=spec_of(form), labels=labels_of(form)) for form in forms)
    store.commit(Batch(writes=puts))


async def _tick(loop: PlacementLoop, lease: Lease) -> float:
    start_s = time.perf_counter()
    await loop.tick(lease)
    return time.perf_counter() - start_s


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("throughput", help="replicas placed per second, from the store and back into it")
    command.add_argument("--nodes", type=int, default=5_000)
    command.add_argument("--services", type=int, default=20)
    command.add_argument("--replicas", type=int, default=100, help="of each service")
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """1 if not everything was placed, claimed and assigned."""
    wanted, rounds = options.services * options.replicas, list[Round]()
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(asyncio.run(one_round(Path(folder), options)))
        console.print(f"[dim]{rounds[-1].claims} claims in {rounds[-1].tick_s:.2f} s[/]")
    machine = f"{platform.node()}: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    title = f"{options.nodes} nodes, {options.services} services x {options.replicas} replicas, on {machine}"
    table = Table("what", "placements/s", title=title, title_justify="left")
    tick_s, idle_s = (statistics.median(getattr(one, name) for one in rounds) for name in ("tick_s", "idle_s"))
    rates = sorted(one.claims / one.tick_s for one in rounds)
    spread = f"median of {len(rates)}, {rates[0]:.0f} to {rates[-1]:.0f}"
    table.add_row("skerry, store to assignment", f"{statistics.median(rates):.0f} ({spread}; {tick_s:.2f} s a tick)")
    for name, floor in FLOORS.items():
        table.add_row(name, f"{floor} (published, other machines)")
    console.print(table)
    console.print(f"a tick that finds nothing to do: {idle_s:.2f} s")
    if all((one.claims, one.assigned) == (wanted, wanted) for one in rounds):
        return 0
    console.print(f"[red]not all placed[/]: {[(one.claims, one.assigned) for one in rounds]}, wanted {wanted}")
    return 1
