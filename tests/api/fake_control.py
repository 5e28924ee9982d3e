"""A control plane in memory behind the real servicer: what the command and the API are tested on."""

import asyncio
import datetime
import hashlib
import pathlib
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import grpc

from orchestrator.api.seams import (
    Applied,
    Explanation,
    KeptDecision,
    KeptDecisions,
    NewToken,
    NodeAccelerator,
    NodeMachine,
    NodeReplica,
    NodeUsage,
    NodeView,
    Part,
    Planned,
    Progress,
    PushedModel,
    Replay,
    Status,
    TokenView,
)
from orchestrator.api.servicer import bind, control_server
from orchestrator.authority.certificates import installation_of
from orchestrator.authority.files import FileAuthority
from orchestrator.authority.requests import public_key_of
from orchestrator.control.codec import to_json
from orchestrator.control.nodes import NODE, merged, node_key
from orchestrator.control.statuses import condition
from orchestrator.errors import Compacted, InvalidRequest, NotFound, OwnerConflict, RevisionStale
from orchestrator.model.ids import DecisionId, Digest, NodeName, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.legs import Leg, Path, PathKind
from orchestrator.model.nodes import Schedule
from orchestrator.model.plan import (
    Act,
    Answer,
    Attainment,
    NotServed,
    ObjectChange,
    Plan,
    Problem,
    Running,
    ServiceCost,
    Step,
    Transfer,
)
from orchestrator.model.relaxation import Binding, Relaxation, Remedy
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import (
    ChosenSite,
    Costs,
    Interval,
    Refusal,
    RefusalCount,
    RefusedSite,
    ResponseTerms,
    ServiceDecision,
    Share,
    Snapshot,
    Unserved,
)
from orchestrator.model.specs import SiteKind, SiteSpec, Variant
from orchestrator.model.stored import Change, ChangeType, DecisionRecord, Json, JsonObject, Key, Owner, StoredObject
from orchestrator.objects import key_of, labels_of, revision_of, spec_of, validate_all
from orchestrator.reconcile.viewing import view_in_force
from workers.identity.keys import certificates_to_pem
from workers.identity.names import Identity, Role

CREATED_WALL_S = 1_700_000_000.0
SITES = (
    SiteSpec(SiteName("harbour"), SiteKind.EDGE, "EU", "harbour", "any", 0.0, Resources(1 << 30, 4000)),
    SiteSpec(SiteName("local"), SiteKind.REGION, "EU", "local", "any", 0.1, Resources(1 << 32, 8000)),
)
NODES = (
    NodeView("harbour-a", "harbour", "front-0", "unknown", 12.0, 1 << 30, 4000, "127.0.0.1:9001",
             (NodeReplica("r-1", "unknown", ""),)),
    NodeView("harbour-b", "harbour", "front-0", "attached", 0.0, 512 << 20, 1500, "",
             (NodeReplica("r-2", "ready", ""), NodeReplica("r-3", "fetching", "40 of 96 MiB")),
             NodeMachine("aarch64", "6.1.21", "Debian GNU/Linux 12", 4, 4 << 30, 64 << 30,
                         (NodeAccelerator("edgetpu", "Coral Edge TPU (apex)", "/dev/apex_0"),)),
             NodeUsage(30.0, 0.25, 3 << 30, 64 << 20, 0, 40 << 30, 51.0)),
)  # fmt: skip
FRONT_LEG = Leg("front/front-0", "site/harbour", 12.0, 18.5, 8e6, 20e6, 40, 0.4, "echo", 17.5, 17.0, 24.0)
SNAPSHOT = Snapshot(
    SITES, (), (Path(ZoneName("plant"), SiteName("harbour"), PathKind.RELAY, (FRONT_LEG,), SiteName("local")),), ()
)


def decision_for(service: ServiceRef) -> ServiceDecision:
    """One site chosen, one refused, a part of the calls not served."""
    refused = RefusedSite(
        SiteName("local"),
        ZoneName("plant"),
        Refusal.TOO_SLOW,
        61.0,
        40.0,
        "ms",
        "raise latency.p99_ms to 61",
        terms=ResponseTerms(42.0, 14.5, 4.5),
    )
    chosen = ChosenSite(
        SiteName("harbour"),
        2,
        Variant.LITERT_INT8,
        18.5,
        10.0,
        True,
        SiteName("local"),
        42.5,
        "preferred, 18.5 ms",
        Costs(replicas=0.05, egress=0.002, latency=1.85),
        0.31,
    )
    share = Share(
        ZoneName("plant"), SiteName("harbour"), 0.75, Interval(15.0, 18.5, 25.0), ("front -> site 18.5 ms, 0.4 s old",)
    )
    unserved = Unserved(ZoneName("plant"), 0.25, refused, (RefusalCount(Refusal.TOO_SLOW, 1, (refused,), 21.0),))
    version = VersionRef(service.namespace, "digits-v1")
    return ServiceDecision(service, version, "line", (chosen,), (share,), (refused,), (unserved,), 0.05)


REMEDY = Remedy(
    zone=ZoneName("plant"),
    share=0.25,
    relaxation=Relaxation(
        field="latency.p99_ms",
        object="PlacementPolicy default/line",
        before=40.0,
        after=61.0,
        unit="ms",
        serves=0.25,
        left=0.0,
        sites=(SiteName("local"),),
        usd_per_hour=0.41,
        billed_usd_per_hour=0.1,
        unserved_usd_per_hour=-900.0,
        legal=False,
        sentence="latency.p99_ms 40 -> 61 ms would serve it at local for 0.41 USD/h more",
    ),
    trials=80,
    binding=Binding(("memory", "harbour", "harbour-a"), 0.02, "MiB", 64.0, 1.28),
)
DIGITS = ServiceRef("default", "digits")
HERE, THERE = (
    Running(SiteName(site), VersionRef("default", version), Variant.LITERT_INT8)
    for site, version in (("harbour", "digits-v1"), ("local", "digits-v2"))
)
PLAN = Plan(
    decision="d-1",
    changed=True,
    steps=(
        Step(Act.MOVE, DIGITS, 1, HERE, THERE),
        Step(Act.START, DIGITS, 2, None, HERE),
        Step(Act.STOP, DIGITS, 1, THERE, None),
    ),
    answers=(
        Answer(
            DIGITS,
            ZoneName("plant"),
            SiteName("harbour"),
            1.0,
            0.75,
            None,
            Interval(15.0, 18.5, 45.0),
            40.0,
            Attainment.LIKELY,
        ),
    ),
    not_served=(NotServed(DIGITS, ZoneName("plant"), 0.0, 0.25, decision_for(DIGITS).refused),),
    costs=(ServiceCost(DIGITS, 0.05, 0.15),),
    usd_per_hour_before=0.05,
    usd_per_hour=0.15,
    objective_usd_per_hour=4.2,
    lower_bound_usd_per_hour=4.0,
    bound="branch and bound",
    gap=0.05,
    causes=("default/digits: took local: it has room",),
    transfers=tuple(
        Transfer("site/harbour -> front/f", SiteName("harbour"), NodeName(node), Digest("sha256:00"), 15_360)
        for node in ("a", "b")
    ),
    problems=(Problem(ServiceRef("default", "other"), "policy none does not exist"),),
)
KEPT = tuple(
    KeptDecision(DecisionRecord(DecisionId(id), 7, CREATED_WALL_S, 1, 0.05, changes), age_s, in_force)
    for id, changes, age_s, in_force in (
        ("d-2", ("default/digits: took local: it has room",), 65.0, True),
        ("d-1", (), 3_600.0, False),
    )
)


@dataclass(slots=True)
class FakeControl:
    """Keeps objects and a change log; `before` is asked at each call and may raise in its place."""

    objects: dict[Key, StoredObject] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    compacted: int = 0  # the log answers only after this sequence
    held: str = ""  # why a proposal is not in force
    kept_s: float = 0.0
    before: Callable[[str], None] = lambda call: None
    pushed: list[tuple[PushedModel, bytes]] = field(default_factory=list)
    log_lines: tuple[str, ...] = ("epoch 1", "epoch 2")
    job_phase: str = "succeeded"
    remedies: tuple[Remedy, ...] = (REMEDY,)
    refused: tuple[RefusedSite, ...] | None = None  # in place of those that `decision_for` tells
    nodes: tuple[NodeView, ...] = NODES
    tokens_made: list[TokenView] = field(default_factory=list)
    stream_ended: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def put(
        self, key: Key, spec: JsonObject, status: JsonObject | None = None, owner: Owner = Owner.COMMAND
    ) -> None:
        """As the loops write: no checks. `status` None keeps what is there."""
        old = self.objects.get(key)
        kept = status if status is not None else old.status if old else {}
        labels = old.labels if old else {}
        await self._write(key, owner, spec, kept, labels)

    async def _write(
        self, key: Key, owner: Owner, spec: JsonObject, status: JsonObject, labels: JsonObject
    ) -> StoredObject:
        old, revision = self.objects.get(key), len(self.log) + 1
        generation = 1 if old is None else old.generation + (dict(old.spec) != dict(spec))
        texts = {name: str(value) for name, value in labels.items()}
        stored = StoredObject(key, f"u-{key.name}", revision, generation, owner, texts, spec, status, CREATED_WALL_S)
        self.objects[key] = stored
        await self._record(ChangeType.PUT, stored)
        return stored

    async def _record(self, type: ChangeType, stored: StoredObject) -> None:
        async with self.changed:
            self.log.append(Change(len(self.log) + 1, type, stored))
            self.changed.notify_all()

    async def apply(self, documents: Sequence[dict[str, Json]], owner: Owner, dry_run: bool) -> list[Applied]:
        self.before("apply")
        results = []
        for form in validate_all(documents):
            key, spec, labels = key_of(form), spec_of(form), labels_of(form)
            old = self.objects.get(key)
            self._check_write(old, owner, revision_of(form), key)
            same = old is not None and (dict(old.spec), dict(old.labels)) == (dict(spec), labels)
            action = "created" if old is None else "unchanged" if same else "configured"
            if dry_run or (same and old):
                stored = old or StoredObject(key, "", 0, 0, owner, labels, spec, {}, CREATED_WALL_S)
            else:
                stored = await self._write(key, owner, spec, old.status if old else {}, labels)
            warnings = ("no site is near enough",) if key.name == "far" else ()
            results.append(Applied(stored, action, warnings))
        return results

    def _check_write(self, old: StoredObject | None, owner: Owner, revision: int | None, key: Key) -> None:
        if old is not None and old.owner is not owner:
            raise OwnerConflict(f"{key}: it is managed by {old.owner.value}: change it there")
        if revision is not None and revision != (old.revision if old else 0):
            raise RevisionStale(f"{key}: revision {revision} is not the newest: read it again")

    async def get(self, key: Key) -> StoredObject:
        self.before("get")
        found = {one.key: one for one in self._kept(key.kind)}
        if key not in found:
            raise NotFound(f"{key}: there is none: list them with `skerry get`")
        return found[key]

    def _kept(self, kind: str) -> list[StoredObject]:
        stored = [one for key, one in sorted(self.objects.items()) if kind in ("", key.kind)]
        return merged(stored, self.nodes) if kind == NODE else stored

    async def schedule_node(self, node: NodeName, action: Schedule) -> StoredObject:
        self.before("schedule")
        before = await self.get(node_key(node))
        spec = {**before.spec, "unschedulable": action is not Schedule.UNCORDON, "draining": action is Schedule.DRAIN}
        drained = condition("Drained", False, "HandingOver", "1 left: 1 until their successors are ready")
        status: JsonObject = {"conditions": [drained]} if action is Schedule.DRAIN else {}
        await self.put(before.key, spec, status, Owner.CONTROL)
        return self.objects[before.key]

    async def list_objects(self, kind: str, namespace: str | None) -> tuple[list[StoredObject], int]:
        self.before("list")
        return [one for one in self._kept(kind) if namespace in (None, one.key.namespace)], len(self.log)

    async def delete(self, key: Key, owner: Owner, revision: int | None) -> StoredObject:
        stored = await self.get(key)
        self._check_write(stored, owner if stored.owner is not Owner.CONTROL else Owner.CONTROL, revision, key)
        del self.objects[key]
        await self._record(ChangeType.DELETE, stored)
        return stored

    async def watch(self, after_sequence: int, kind: str, namespace: str | None) -> AsyncIterator[Change]:
        self.before("watch")
        try:
            while True:
                if after_sequence < self.compacted:
                    raise Compacted(f"the change log begins after {self.compacted}: list again")
                for change in self.log[after_sequence:]:
                    after_sequence = change.sequence
                    key = change.object.key
                    if kind in ("", key.kind) and namespace in (None, key.namespace):
                        yield change
                await self._news(after_sequence)
        finally:
            self.stream_ended.set()

    async def _news(self, after_sequence: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.log) > after_sequence or self.compacted > after_sequence)

    async def explain(
        self, service: ServiceRef, site: SiteName | None, view: bool = False, remedied: bool = False
    ) -> Explanation:
        self.before("explain")
        await self.get(Key("ModelService", service.namespace, service.name))
        decision = decision_for(service)
        if site is not None:
            decision = replace(decision, chosen=tuple(one for one in decision.chosen if one.site == site))
        if self.refused is not None:
            decision = replace(decision, refused=self.refused)
        found = tuple(to_json(one) for one in self.remedies) if remedied else ()
        seen = to_json(view_in_force(decision_for(service), SNAPSHOT, "d-1")) if view else ""
        return Explanation("d-1", to_json(decision), to_json(SNAPSHOT), 3.0, seen, found, self.held, self.kept_s)

    async def plan(self, documents: Sequence[dict[str, Json]], owner: Owner, view: bool) -> Planned:
        self.before("plan")
        forms = validate_all(documents)
        names = [(form.kind, key_of(form)) for form in forms]
        objects = tuple(ObjectChange(kind, key.namespace, key.name, "created") for kind, key in names)
        plan = replace(PLAN, objects=objects) if forms else replace(PLAN, changed=False, steps=())
        seen = to_json(view_in_force(decision_for(DIGITS), SNAPSHOT, "d-1")) if view else ""
        return Planned(plan.changed, to_json(plan), seen)

    async def decisions(self, id: DecisionId | None, limit: int) -> KeptDecisions:
        self.before("decisions")
        found = [one for one in KEPT if id in (None, one.record.id)]
        if not found:
            raise NotFound(f"decision {id}: is not stored: the oldest kept: d-1")
        if id is not None:
            found = [replace(found[0], inputs_json='{"seed": 0}', decision_json='{"services": []}')]
        return KeptDecisions(tuple(found[:limit]), "the newest 2 decisions of the last 30 days")

    async def replay(self, id: DecisionId, policy: dict[str, Json] | None) -> Replay:
        self.before("replay")
        await self.decisions(id, 1)
        same = id == "d-2" and policy is None
        plan = replace(PLAN, decision=id) if not same else replace(PLAN, decision=id, changed=False, steps=())
        differences = () if same else ("services[0].usd_per_hour: stored 0.25, replayed 0.5",)
        return Replay(id, 65.0, same, differences, "0.1.0+aa x", "0.1.0+bb x", to_json(plan), '{"services": []}')

    async def status(self) -> Status:
        self.before("status")
        parts = (
            Part("control", "leader", "ready", "epoch 7", 65.0),
            Part("front", "front-0", "attached", "2 nodes", 61.0),
            Part("node", "harbour-a", "unknown", "silent for 12 s", 12.0),
            Part("leg", "site/harbour -> front/front-0", "measured", "rtt p50 12.0 p99 18.5 ms", 3.0),
        )
        return Status("0.1.0", 7, "host-1", "d-1", len(self.log), parts, self.nodes)

    async def train(self, document: dict[str, Json], owner: Owner) -> AsyncIterator[Progress]:
        stored = (await self.apply([document], owner, False))[0].object
        job, steps = f"{stored.key.namespace}/{stored.key.name}", 3
        try:
            for step in range(steps + 1):
                self.before(f"train {step}")
                yield Progress(
                    job, "running", step, steps, "training", {"loss": 1.0 / (1 + step), "accuracy": 0.5}, None
                )
            await self.put(stored.key, stored.spec, job_status(self.job_phase), owner)
            ended = self.objects[stored.key]
            yield Progress(job, self.job_phase, steps, steps, "accuracy 0.5 is below 0.9", {"accuracy": 0.5}, ended)
        finally:
            self.stream_ended.set()

    async def logs(self, key: Key, follow: bool) -> AsyncIterator[str]:
        await self.get(key)
        try:
            for line in self.log_lines:
                yield line
            if follow:
                await asyncio.Event().wait()
        finally:
            self.stream_ended.set()

    async def push(self, model: PushedModel, data: AsyncIterator[bytes]) -> StoredObject:
        self.before("push")
        content = b"".join([block async for block in data])
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != model.digest:
            raise InvalidRequest("digest", model.digest, "the bytes have another: push again")
        self.pushed.append((model, content))
        key = Key("ModelVersion", model.namespace, f"{model.name}-{model.digest[7:15]}")
        return await self._write(key, model.owner, {"model": model.name, "variants": []}, {}, {})

    async def create_tokens(
        self, site: str, uses: int, ttl_s: float, labels: Mapping[str, str], tokens: int
    ) -> tuple[list[NewToken], tuple[str, ...]]:
        self.before("create_tokens")
        ids = [f"token{len(self.tokens_made) + one:03d}" for one in range(tokens)]
        made = [NewToken(TokenView(id, site, uses, (), ttl_s, labels, False, 0.0), f"skerry1.{id}.s.p") for id in ids]
        self.tokens_made += [one.token for one in made]
        return made, ("front.example:7072",)

    async def certify(self, role: str, name: str, request_pem: bytes, hosts: tuple[str, ...]) -> tuple[bytes, bytes]:
        self.before("certify")
        now = datetime.datetime.now(datetime.UTC)
        with tempfile.TemporaryDirectory() as folder:
            authority = FileAuthority(pathlib.Path(folder), now)
        identity = Identity(installation_of(authority.certificates), Role(role), name)
        chain = authority.certify(public_key_of(request_pem), identity, hosts, now)
        return certificates_to_pem(chain), certificates_to_pem(authority.certificates)

    async def tokens(self) -> list[TokenView]:
        self.before("tokens")
        return self.tokens_made

    async def revoke_token(self, id: str) -> TokenView:
        self.before("revoke_token")
        for at, one in enumerate(self.tokens_made):
            if one.id == id:
                self.tokens_made[at] = replace(one, revoked=True)
                return self.tokens_made[at]
        raise NotFound(f"token {id!r}: there is none; `skerry token list` shows those there are")


def job_status(phase: str) -> dict[str, Json]:
    variant: dict[str, Json] = {
        "variant": "litert-int8",
        "accuracy": 0.97,
        "size_bytes": 15360,
        "p50_ms": 0.003,
        "p99_ms": 0.004,
    }
    return {
        "phase": phase,
        "step": 3,
        "steps": 3,
        "message": "accuracy 0.5 is below 0.9",
        "version": "digits-v1",
        "result": {"variants": [variant]},
    }


@dataclass(slots=True)
class RunningControl:
    """A FakeControl behind a real server on a thread of its own."""

    control: FakeControl
    address: str
    loop: asyncio.AbstractEventLoop

    def do(self, work: Coroutine[None, None, object]) -> None:
        """Run a coroutine where the control plane lives."""
        asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=10)


@contextmanager
def running_control(address: str = "127.0.0.1:0", control: FakeControl | None = None) -> Iterator[RunningControl]:
    """Until the block ends; then the port is closed."""
    started: list[RunningControl] = []
    ready, stopping = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server: grpc.aio.Server = await control_server(found, ())
        port = bind(server, address)
        await server.start()
        started.append(RunningControl(found, f"127.0.0.1:{port}", asyncio.get_running_loop()))
        ready.set()
        await stopping.wait()
        await server.stop(0)

    found = control or FakeControl()
    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10), "the fake control plane did not start"
    try:
        yield started[0]
    finally:
        started[0].loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
