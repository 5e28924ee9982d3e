"""A control plane on its real store and wire, with a region, a cluster and a front that the test plays."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import grpc
import yaml

from orchestrator.clock import SystemClock
from orchestrator.control.process import run_plane
from orchestrator.model.phases import JobPhase
from orchestrator.model.running import CloudReplicas, JobProgress
from orchestrator.settings import Settings, settings_from
from orchestrator.store import open_store
from protos.control.v1 import control_pb2, control_pb2_grpc
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.artifacts.digest import digest_of_file

# Channels of one process share connections, and so the backoff after a control plane that was ended before.
OWN_CONNECTIONS = (("grpc.use_local_subchannel_pool", 1),)
READY = link_pb2.REPLICA_PHASE_READY
FAILED = link_pb2.REPLICA_PHASE_FAILED


class RegionOnPaper:
    """Implements control's Cloud seam: its replicas are registrations held open, and serve nobody."""

    def __init__(self, control_address: str, region: str = "local", broken: frozenset[str] = frozenset()) -> None:
        self._address, self._region, self._broken = control_address, region, broken  # digests that do not load
        self._held: dict[tuple[str, str, str], list[asyncio.Task[None]]] = {}
        self._numbers = count()
        self.wanted: list[CloudReplicas] = []

    async def deploy(self, wanted: Sequence[CloudReplicas]) -> None:
        self.wanted = list(wanted)
        counts = {(w.namespace, w.service, w.version): w for w in wanted}
        for key in self._held.keys() | counts.keys():
            held = self._held.setdefault(key, [])
            one = counts.get(key)
            while len(held) > (one.count if one else 0):
                held.pop().cancel()
            while one and one.digest not in self._broken and len(held) < one.count:
                held.append(asyncio.create_task(self._register(one)))

    async def problems(self) -> Mapping[tuple[str, str], str]:
        return {(w.namespace, w.service): "the model does not load" for w in self.wanted if w.digest in self._broken}

    async def _register(self, wanted: CloudReplicas) -> None:
        name = f"{wanted.service}-{next(self._numbers)}"
        report = link_pb2.ReplicaReport(
            replica=name,
            incarnation=f"i-{name}",
            namespace=wanted.namespace,
            service=wanted.service,
            version=wanted.version,
            region=self._region,
            digest=wanted.digest,
            address="127.0.0.1:1",
            phase=READY,
        )
        while True:  # as a real one: again whenever the connection breaks
            with contextlib.suppress(grpc.aio.AioRpcError):
                async with grpc.aio.insecure_channel(self._address, options=OWN_CONNECTIONS) as channel:
                    stream = link_pb2_grpc.ReplicaLinkStub(channel).Register()
                    await stream.write(report)
                    async for _order in stream:
                        pass
            await asyncio.sleep(0.5)


class ClusterOnPaper:
    """Implements control's Trainer seam: a job is as far as the test says."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobProgress] = {}

    def finish(self, job: str, jobs_dir: Path) -> None:
        """With one variant, whose file lies where a cluster would have put it."""
        folder = jobs_dir / job.replace(".", "/")
        (folder / "variants").mkdir(parents=True)
        (folder / "variants" / "small.tflite").write_bytes(b"TFL3")
        variant = {
            "variant": "litert-fp32",
            "path": "variants/small.tflite",
            "digest": digest_of_file(folder / "variants" / "small.tflite")[0],
            "size_bytes": 4,
            "accuracy": 0.98,
            "p50_ms": 0.1,
            "p99_ms": 0.2,
            "memory_bytes": 1000,
        }
        result = json.dumps({"variants": [variant]})
        self.jobs[job] = JobProgress(JobPhase.SUCCEEDED, 10, 10, "done", {"accuracy": 0.98}, result)

    async def submit(self, job: str, spec_json: str, out_dir: Path) -> None:
        json.loads(spec_json)
        self.jobs.setdefault(job, JobProgress(JobPhase.RUNNING, 0, 10, "started", {}, None))

    async def progress(self, job: str) -> JobProgress | None:
        return self.jobs.get(job)

    async def stop(self, job: str) -> None:
        self.jobs.pop(job, None)

    async def logs(self, job: str, offset: int) -> tuple[list[str], int]:
        return [], offset


@dataclass
class FrontInHand:
    """A front with nodes that obey their assignments at once, unless told otherwise."""

    address: str
    region: str = "local"
    rtt_ms: dict[str, float] = field(default_factory=dict)  # per site, to this front
    broken: set[str] = field(default_factory=set)  # versions that do not load, or SITE/VERSION
    more_nodes: dict[str, int] = field(default_factory=dict)  # of a site, beside its first
    silent_since_s: dict[str, float] = field(default_factory=dict)  # nodes, by time.monotonic()
    held: dict[str, int] = field(default_factory=dict)  # revisions that nodes hold from an earlier installation
    routes: link_pb2.RouteTable | None = None
    assignments: dict[str, link_pb2.Assignment] = field(default_factory=dict)
    revisions: list[int] = field(default_factory=list)  # of all assignments, as they came
    epoch: int = 0
    failure: grpc.aio.AioRpcError | None = None

    def report(self) -> link_pb2.FrontReport:
        region_leg = link_pb2.LegEstimate(
            source="front/f", target=f"region/{self.region}", rtt_p50_ms=1, rtt_p99_ms=2, samples=9, method="test"
        )
        return link_pb2.FrontReport(nodes=self._nodes(), legs=[region_leg])

    def _nodes(self) -> list[link_pb2.NodeState]:
        return [
            self._node(site, f"{site}-{number + 1}")
            for site in self.rtt_ms
            for number in range(1 + self.more_nodes.get(site, 0))
        ]

    def _node(self, site: str, name: str) -> link_pb2.NodeState:
        assignment = self.assignments.get(name, link_pb2.Assignment())
        leg = link_pb2.LegEstimate(
            source=f"site/{site}",
            target="front/f",
            rtt_p50_ms=self.rtt_ms[site],
            rtt_p99_ms=self.rtt_ms[site],
            up_bps=1e8,
            down_bps=1e8,
            samples=9,
            method="test",
        )
        hello = link_pb2.NodeHello(node=name, site=site, epoch=1, memory_bytes=1 << 30, compute_millis=4000)
        replicas = [
            link_pb2.ReplicaState(
                replica=r.replica,
                incarnation="i",
                phase=READY,
            )
            for r in assignment.replicas
        ]
        for state, assigned in zip(replicas, assignment.replicas, strict=True):
            if {assigned.version, f"{site}/{assigned.version}"} & self.broken:
                state.phase, state.reason = FAILED, "the file is cut short"
        held_revision = max(assignment.revision, self.held.get(name, 0))
        report = link_pb2.NodeReport(held_revision=held_revision, replicas=replicas, legs=[leg])
        if (since_s := self.silent_since_s.get(name)) is not None:
            silent_ms = round(1000 * (time.monotonic() - since_s))
            return link_pb2.NodeState(hello=hello, report=report, attached=False, silent_ms=silent_ms)
        return link_pb2.NodeState(hello=hello, report=report, attached=True)

    async def run(self) -> None:
        """Attach, and attach again whenever the control plane goes."""
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                async with grpc.aio.insecure_channel(self.address, options=OWN_CONNECTIONS) as channel:
                    stream = link_pb2_grpc.FrontLinkStub(channel).Attach(self._reports())
                    async for orders in stream:
                        self._obey(orders)
            await asyncio.sleep(0.05)

    async def _reports(self) -> AsyncIterator[link_pb2.FrontReport]:
        first = self.report()
        first.hello.CopyFrom(link_pb2.FrontHello(front="f", region=self.region, gateway_address="127.0.0.1:1"))
        yield first
        while True:
            await asyncio.sleep(0.05)
            yield self.report()

    def _obey(self, orders: link_pb2.FrontOrders) -> None:
        assert orders.epoch >= self.epoch
        self.epoch = orders.epoch
        if orders.HasField("routes"):
            assert self.routes is None or orders.routes.revision > self.routes.revision
            self.routes = orders.routes
        for one in orders.assignments:
            self.revisions.append(one.assignment.revision)
            if one.assignment.revision > self.held.get(one.node, 0):  # as agents do
                self.assignments[one.node] = one.assignment

    def versions_assigned(self) -> set[str]:
        return {r.version for a in self.assignments.values() for r in a.replicas if not r.draining}

    def sites_in_use(self, zone: str = "city") -> dict[str, float]:
        """The share of each site with a route."""
        services = self.routes.services if self.routes else []
        return {r.site: r.share for s in services for z in s.zones if z.zone == zone for r in z.routes}


@dataclass
class Running:
    """A control plane under test."""

    settings: Settings
    region: RegionOnPaper | None
    cluster: ClusterOnPaper
    control: control_pb2_grpc.ControlStub
    channel: grpc.aio.Channel

    async def apply(self, text: str, dry_run: bool = False) -> control_pb2.ApplyReply:
        documents = [json.dumps(d) for d in yaml.safe_load_all(text)]
        return await self.control.Apply(
            control_pb2.ApplyRequest(documents_json=documents, owner="command", dry_run=dry_run)
        )

    async def status_of(self, kind: str, name: str, namespace: str = "default") -> dict[str, object]:
        ref = control_pb2.ObjectRef(kind=kind, namespace=namespace, name=name)
        found = await self.control.Get(ref)
        status: dict[str, object] = json.loads(found.document_json)["status"]
        return status


async def until(what: str, holds: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait on a condition; a bounded poll, since the parts have no event for a test to wait on."""
    end_s = asyncio.get_running_loop().time() + limit_s
    while not holds():
        assert asyncio.get_running_loop().time() < end_s, f"{what}: not within {limit_s} s"
        await asyncio.sleep(0.02)


async def until_status(running: Running, kind: str, name: str, phase: str, limit_s: float = 10.0) -> dict[str, object]:
    end_s = asyncio.get_running_loop().time() + limit_s
    while True:
        status = await running.status_of(kind, name)
        if status.get("phase") == phase:
            return status
        assert asyncio.get_running_loop().time() < end_s, f"{kind} {name} is {status}, not {phase} within {limit_s} s"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def control_plane(
    folder: Path, address: str, region: RegionOnPaper | None = None, **constants: float
) -> AsyncIterator[Running]:
    """On a SQLite store in `folder`; ended as a kill would: without goodbye to anybody but the store's lease.

    `region`: one that lives on from an earlier control plane. It is ended unless the test takes it out of `Running`.
    `constants`: of Settings.
    """
    environ = {"SKERRY_HOME": str(folder), "SKERRY_CONTROL": address, "SKERRY_ZONE": "city"}
    settings = replace(settings_from(environ), **constants)  # type: ignore[arg-type]
    store = await asyncio.to_thread(open_store, settings.store)
    region = region or RegionOnPaper(address)
    cluster, ready = ClusterOnPaper(), asyncio.Event()
    task = asyncio.create_task(run_plane(settings, store, region, cluster, SystemClock(), ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        await task
    try:
        async with grpc.aio.insecure_channel(address, options=OWN_CONNECTIONS) as channel:
            running = Running(settings, region, cluster, control_pb2_grpc.ControlStub(channel), channel)
            yield running
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if running.region is not None:
            await running.region.deploy([])
        store.close()
