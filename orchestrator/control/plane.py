"""What operators ask of the control plane; implements the api room's seam over the store and the loops."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.api.seams import (
    Applied,
    Explanation,
    KeptDecisions,
    NewToken,
    Planned,
    Progress,
    PushedModel,
    Replay,
    Status,
    TokenView,
)
from orchestrator.clock import Clock
from orchestrator.control import history
from orchestrator.control.codec import VERSION, to_json
from orchestrator.control.explaining import remedies
from orchestrator.control.inspecting import inspect_model
from orchestrator.control.jobs import TrainingLoop, job_name
from orchestrator.control.joining import Joining
from orchestrator.control.leader import Leader
from orchestrator.control.nodes import NODE, merged, schedule, scheduling_told
from orchestrator.control.observations import Observations
from orchestrator.control.parts import node_views, rollout_parts, running_parts, unreadable_parts
from orchestrator.control.placing import PlacementLoop
from orchestrator.control.planning import as_written, plan, with_objects
from orchestrator.control.registering import pushed_version
from orchestrator.control.seams import Store
from orchestrator.control.statuses import placed_reason, ready_message
from orchestrator.control.world import ASSIGNMENT, World, phase_of, read_world, unreadable_reason
from orchestrator.errors import Conflict, InvalidRequest, NodeUnknown, NotFound
from orchestrator.model.ids import DecisionId, NodeName, ServiceRef, SiteName
from orchestrator.model.nodes import Schedule
from orchestrator.model.plan import ObjectChange
from orchestrator.model.snapshot import Snapshot
from orchestrator.model.stored import Batch, Change, Delete, Json, Key, Owner, Put, Retention, StoredObject
from orchestrator.objects import KINDS, Form, key_of, labels_of, revision_of, spec_of, validate, validate_all
from orchestrator.reconcile.viewing import view_in_force
from workers.artifacts.describing import Describer

POLL_S = 0.2
MAX_MODEL_BYTES = 8 << 30
# Apart from the threads that the loops use for the store: many pushes at once must not delay a lease.
INSPECTIONS = ThreadPoolExecutor(2, "inspecting")
WARN_ON = frozenset({"Site", "Zone", "ModelService", "PlacementPolicy", "TenantQuota"})


@dataclass(slots=True)
class Plane:
    """One object per control process; everything durable is in the store."""

    store: Store
    describer: Describer
    observations: Observations
    placing: PlacementLoop
    training: TrainingLoop
    leader: Leader
    clock: Clock
    region: str
    incoming: Path  # models that are being pushed
    retention: Retention
    joining: Joining

    async def apply(self, documents: Sequence[dict[str, Json]], owner: Owner, dry_run: bool) -> list[Applied]:
        """All documents in one transaction. A dry run checks all but races with other writers."""
        forms = validate_all(documents)
        world = await asyncio.to_thread(read_world, self.store)
        puts = _puts_of(forms, owner, world)
        before = {put.key: world.objects.get(put.key.kind, {}).get(put.key) for put in puts}
        if dry_run:
            written = [as_written(put, before[put.key], self.clock.wall_s()) for put in puts]
        else:
            written = await asyncio.to_thread(self.store.commit, Batch(writes=tuple(puts)))
        warnings = await self._warnings(world, written)
        return [
            Applied(stored, _action(before[stored.key], stored), tuple(warnings.get(stored.key, ())))
            for stored in written
        ]

    async def _warnings(self, world: World, written: Sequence[StoredObject]) -> dict[Key, list[str]]:
        """What a service of this batch would lack if it were placed now."""
        if not any(stored.key.kind in WARN_ON for stored in written):
            return {}
        now_s = self.clock.now_s()
        after = await asyncio.to_thread(with_objects, world, written)
        observed = self.observations.observed(now_s)
        proposal = await self.placing.propose(after, observed, now_s)
        warnings = {
            Key("ModelService", d.service.namespace, d.service.name): [placed_reason(d)[1]]
            for d in proposal.decision.services
            if d.unserved or d.shortfalls
        }
        for service, problem in proposal.taken.problems.items():
            warnings[Key("ModelService", service.namespace, service.name)] = [problem]
        return warnings | _by_policy(warnings, after)

    async def plan(self, documents: Sequence[dict[str, Json]], owner: Owner, view: bool) -> Planned:
        """What applying these would change; without any, what the next tick would. Nothing is written."""
        forms = validate_all(documents)
        world = await asyncio.to_thread(read_world, self.store)
        written: dict[Key, StoredObject] = {}
        for put in _puts_of(forms, owner, world):
            existing = world.objects.get(put.key.kind, {}).get(put.key)
            written[put.key] = as_written(put, existing, self.clock.wall_s())
        objects = [
            ObjectChange(key.kind, key.namespace, key.name, _action(world.objects.get(key.kind, {}).get(key), stored))
            for key, stored in written.items()
        ]
        after = await asyncio.to_thread(with_objects, world, list(written.values()))
        found, seen = await plan(self.placing, self.observations, self.clock, after, objects)
        return Planned(found.changed, to_json(found), to_json(seen()) if view else "")

    async def decisions(self, id: DecisionId | None, limit: int) -> KeptDecisions:
        """The newest first; or one, with its texts."""
        if id is None:
            return await asyncio.to_thread(history.listed, self.store, self.retention, limit, self.clock.wall_s())
        return await asyncio.to_thread(history.shown, self.store, self.retention, id, self.clock.wall_s())

    async def replay(self, id: DecisionId, policy: dict[str, Json] | None) -> Replay:
        """Made again from its stored inputs; with `policy` in place of the stored one of that name."""
        if policy is not None:
            validate(policy)
        return await history.replayed(self.store, self.retention, id, policy, self.clock.wall_s())

    async def get(self, key: Key) -> StoredObject:
        if key.kind != NODE:
            return await asyncio.to_thread(self.store.get, key)
        nodes, _ = await self.list_objects(NODE, None)
        for node in nodes:
            if node.key == key:
                return node
        raise NodeUnknown(f"node {key.name}: is neither enrolled nor was it ever seen: `skerry get nodes` lists others")

    async def schedule_node(self, node: NodeName, action: Schedule) -> StoredObject:
        return await schedule(self.store, self.observations, node, action)

    async def list_objects(self, kind: str, namespace: str | None) -> tuple[list[StoredObject], int]:
        found, sequence = await asyncio.to_thread(self.store.list_objects, kind, namespace)
        if kind == NODE:
            return merged(found, node_views(self.observations, self.clock.now_s())), sequence
        return [stored for stored in found if kind or stored.key.kind != ASSIGNMENT], sequence

    async def delete(self, key: Key, owner: Owner, revision: int | None) -> StoredObject:
        stored = await self._to_delete(key)
        if key.kind == NODE:
            return await self.joining.end_enrolment(key.name)
        # What the control plane made for an operator, such as a trained version, the operator may delete.
        deleter = Owner.CONTROL if stored.owner is Owner.CONTROL else owner
        batch = Batch(writes=(Delete(key, deleter, revision),))
        return (await asyncio.to_thread(self.store.commit, batch))[0]

    async def _to_delete(self, key: Key) -> StoredObject:
        try:
            return await asyncio.to_thread(self.store.get, key)
        except NotFound as err:
            if key.kind == NODE and NodeName(key.name) in self.observations.observed(self.clock.now_s()).nodes:
                raise NotFound(
                    f"node {key.name}: is not stored, it attached by itself: stop its agent, and it is only remembered "
                    "until the control plane starts anew"
                ) from err
            raise

    async def watch(self, after_sequence: int, kind: str, namespace: str | None) -> AsyncIterator[Change]:
        """Changes as they are committed, in order, without end."""
        while True:
            changes = await asyncio.to_thread(self.store.changes, after_sequence)
            for change in changes:
                after_sequence = change.sequence
                key = change.object.key
                if (key.kind == kind or not kind) and namespace in (None, key.namespace):
                    yield change
            if not changes:
                await asyncio.sleep(POLL_S)

    async def explain(
        self, service: ServiceRef, site: SiteName | None, view: bool = False, remedied: bool = False
    ) -> Explanation:
        """The service's part of what the last tick would have, with the measurements that it is made of.

        `remedied`: with the cheapest change that would serve each unserved demand, which takes some plans.
        """
        await self.get(Key("ModelService", service.namespace, service.name))
        current, judgement = self.placing.current, self.placing.judgement
        if current is None or judgement is None:
            raise NotFound(
                f"no decision is made yet for {service}: its sites and fronts are still reporting; ask again"
            )
        decided = next((s for s in judgement.decision.services if s.service == service), None)
        if decided is None:
            stored = await self.get(Key("ModelService", service.namespace, service.name))
            raise NotFound(f"{service} cannot be judged now: {ready_message(stored)}")
        about = _about(judgement.snapshot, service)
        view_json = to_json(view_in_force(decided, about, current.id)) if view else ""
        found = await remedies(judgement, service, self.clock) if remedied else ()
        if site is not None:
            decided = replace(
                decided,
                chosen=tuple(c for c in decided.chosen if c.site == site),
                shares=tuple(s for s in decided.shares if s.site == site),
                refused=tuple(r for r in decided.refused if r.site == site),
            )
        now_s = self.clock.now_s()
        age_s, kept_s = now_s - judgement.at_s, now_s - judgement.planned_s if decided.kept else 0.0
        told = tuple(to_json(one) for one in found)
        held = self.placing.told(service, current.decision)
        return Explanation(current.id, to_json(decided), to_json(about), age_s, view_json, told, held, kept_s)

    async def status(self) -> Status:
        _, sequence = await asyncio.to_thread(self.store.list_objects, "Site", None)
        nodes, _ = await asyncio.to_thread(self.store.list_objects, NODE, None)
        told = {NodeName(node.key.name): said for node in nodes if (said := scheduling_told(node))}
        lease, current, now_s = self.leader.lease, self.placing.current, self.clock.now_s()
        return Status(
            version=VERSION,
            epoch=lease.epoch if lease else 0,
            leader=lease.holder if lease else "",
            decision=current.id if current else "",
            sequence=sequence,
            parts=(
                *unreadable_parts(self.placing.unreadable),
                *rollout_parts(self.placing.stepped.told),
                *running_parts(self.observations, self.placing.region.problem, now_s, told),
            ),
            nodes=node_views(self.observations, now_s),
        )

    async def train(self, document: dict[str, Json], owner: Owner) -> AsyncIterator[Progress]:
        """Create the job and follow it to its end; the last progress carries the object."""
        if document.get("kind") != "TrainingJob":
            raise InvalidRequest("kind", document.get("kind"), "give a TrainingJob; use apply for other kinds")
        key = (await self.apply([document], owner, dry_run=False))[0].object.key
        while True:
            stored = await self.get(key)
            phase, seen = phase_of(stored), self.training.progress.get(job_name(stored))
            ended = phase.ended
            yield Progress(
                job=f"{key.namespace}/{key.name}",
                phase=phase.value,
                step=seen.step if seen else 0,
                steps=seen.steps if seen else 0,
                message=str(stored.status.get("message", "")) if ended or not seen else seen.message,
                metrics=dict(seen.metrics) if seen else {},
                object=stored if ended else None,
            )
            if ended:
                return
            await asyncio.sleep(POLL_S)

    async def logs(self, key: Key, follow: bool) -> AsyncIterator[str]:
        """Of a training job: its cluster's lines, to the end of the job if followed."""
        if key.kind != "TrainingJob":
            raise InvalidRequest("kind", key.kind, "only a TrainingJob has logs here; use describe for others")
        offset = 0
        while True:
            stored = await self.get(key)
            ended = phase_of(stored).ended
            lines, offset = await self.training.trainer.logs(job_name(stored), offset)
            for line in lines:
                yield line
            if not lines and (ended or not follow):
                return
            if not lines:
                await asyncio.sleep(POLL_S)

    async def create_tokens(
        self, site: str, uses: int, ttl_s: float, labels: Mapping[str, str], tokens: int
    ) -> tuple[list[NewToken], tuple[str, ...]]:
        made = await self.joining.create_tokens(site, uses, ttl_s, labels, tokens)
        return made, self.observations.front_addresses()[1]

    async def certify(self, role: str, name: str, request_pem: bytes, hosts: tuple[str, ...]) -> tuple[bytes, bytes]:
        return await self.joining.certify(role, name, request_pem, hosts)

    async def tokens(self) -> list[TokenView]:
        return await self.joining.tokens()

    async def revoke_token(self, id: str) -> TokenView:
        return await self.joining.revoke_token(id)

    async def push(self, model: PushedModel, data: AsyncIterator[bytes]) -> StoredObject:
        """Receive, check against the digest, load it once elsewhere, then register. Nothing is kept of a bad one."""
        self.incoming.mkdir(parents=True, exist_ok=True)
        path = self.incoming / secrets.token_hex(8)
        try:
            await _receive(path, model, data)
            inspecting = asyncio.get_running_loop().run_in_executor(INSPECTIONS, inspect_model, path, model.format)
            description, measured = await inspecting
            versions, _ = await self.list_objects("ModelVersion", model.namespace)
            readable = [stored for stored in versions if not unreadable_reason(stored)]
            put = pushed_version(model, description, readable, measured)
            for stored in versions:
                if stored.key == put.key:
                    return stored
            await asyncio.to_thread(self.describer.add, path, model.format, model.namespace)
            return (await asyncio.to_thread(self.store.commit, Batch(writes=(put,))))[0]
        finally:
            path.unlink(missing_ok=True)


async def _receive(path: Path, model: PushedModel, data: AsyncIterator[bytes]) -> None:
    if not 0 < model.size_bytes <= MAX_MODEL_BYTES:
        raise InvalidRequest("size_bytes", model.size_bytes, f"give 1 to {MAX_MODEL_BYTES} bytes")
    digest, received = hashlib.sha256(), 0
    with path.open("wb") as output:
        async for block in data:
            received += len(block)
            if received > model.size_bytes:
                raise InvalidRequest("size_bytes", model.size_bytes, f"{received} bytes came already: push again")
            digest.update(block)
            await asyncio.to_thread(output.write, block)
    found = f"sha256:{digest.hexdigest()}"
    if (received, found) != (model.size_bytes, model.digest):
        remedy = f"{received} bytes with {found} came: the transfer was cut or the file changed; push again"
        raise InvalidRequest("digest", model.digest, remedy)


def _puts_of(forms: Sequence[Form], owner: Owner, world: World) -> list[Put]:
    """Raises Conflict, with a line for each object that cannot be changed."""
    puts = [Put(key_of(form), owner, revision_of(form), spec=spec_of(form), labels=labels_of(form)) for form in forms]
    conflicts = [
        f"{put.key} is immutable and exists with another spec: give it another name, or delete it first"
        for put in puts
        if KINDS[put.key.kind].immutable
        and (existing := world.objects.get(put.key.kind, {}).get(put.key))
        and dict(existing.spec) != dict(put.spec or {})
    ]
    if conflicts:
        raise Conflict("\n".join(conflicts))
    return puts


def _by_policy(warnings: Mapping[Key, list[str]], world: World) -> dict[Key, list[str]]:
    """The same warnings at the services' policies: who applies only a policy hears them too."""
    found: dict[Key, list[str]] = {}
    for key, said in sorted(warnings.items()):
        stored = world.objects.get("ModelService", {}).get(key)
        policy = Key("PlacementPolicy", key.namespace, str(stored.spec.get("policy")) if stored else "")
        found.setdefault(policy, []).extend(f"service {key.name}: {one}" for one in said)
    return found


def _action(before: StoredObject | None, after: StoredObject) -> str:
    if before is None:
        return "created"
    same = json.dumps([dict(before.spec), dict(before.labels)], sort_keys=True) == json.dumps(
        [dict(after.spec), dict(after.labels)], sort_keys=True
    )
    return "unchanged" if same else "configured"


def _about(snapshot: Snapshot, service: ServiceRef) -> Snapshot:
    """The part of a snapshot that one service's decision was made on."""
    spec = next(s for s in snapshot.services if s.ref == service)
    zones = {demand.zone for demand in spec.demands}
    return replace(
        snapshot,
        services=(spec,),
        paths=tuple(path for path in snapshot.paths if path.zone in zones),
    )
