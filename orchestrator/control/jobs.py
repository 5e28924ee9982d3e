"""The training loop: admit, submit, watch, register. A job's phase is stored; its progress is asked of its cluster."""

import asyncio
import json
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.control.registering import trained_version
from orchestrator.control.seams import Store, Trainer
from orchestrator.control.statuses import condition
from orchestrator.control.world import World, phase_of, read_world
from orchestrator.errors import CloudUnavailable, Conflict, InvalidRequest, NotFound
from orchestrator.model.claims import Claim, JobHold
from orchestrator.model.ids import JobRef, ReplicaId, SiteName
from orchestrator.model.phases import ClaimPhase, JobPhase
from orchestrator.model.resources import Resources
from orchestrator.model.running import JobProgress
from orchestrator.model.stored import Batch, Json, Key, Lease, Put, StoredObject
from orchestrator.objects.translate import site_spec
from orchestrator.training.phases import JobEvent, transition
from orchestrator.training.queue import Admit, Cluster, Hold, QueuedJob, admit
from workers.artifacts.describing import Describer

log = logging.getLogger(__name__)

WORKER_NEED = Resources(memory_bytes=768 * 1024 * 1024, compute_millis=1000)  # TensorFlow alone takes 600 MiB
RUNNING = (JobPhase.RUNNING, JobPhase.EVALUATING)
# What a cluster's word on a running job means for its phase.
EVENTS = {
    JobPhase.RUNNING: JobEvent.CLUSTER_LOST,  # it trains again after evaluating: it was lost in between
    JobPhase.EVALUATING: JobEvent.TRAINED,
    JobPhase.SUCCEEDED: JobEvent.PASSED,
    JobPhase.REJECTED: JobEvent.REFUSED,
    JobPhase.FAILED: JobEvent.BROKE,
}


@dataclass(slots=True)
class TrainingLoop:
    """Runs under the leader's epoch beside the placement loop; both claim from the same ledger."""

    store: Store
    trainer: Trainer
    describer: Describer
    clock: Clock
    region: SiteName
    jobs_dir: Path
    progress: dict[str, JobProgress] = field(default_factory=dict)

    async def tick(self, lease: Lease) -> None:
        world = await asyncio.to_thread(read_world, self.store)
        await self._release_orphans(world, lease)
        jobs = world.of("TrainingJob")
        pending = {_ref(s.key): s for s in jobs if phase_of(s) is JobPhase.PENDING}
        for action in admit([_queued(s) for s in pending.values()], self._clusters(world)):
            stored = pending[action.job]
            await self._guarded(stored, self._act(action, stored, world, lease), lease)
        for stored in jobs:
            if phase_of(stored) in RUNNING:
                await self._guarded(stored, self._watch(stored, lease), lease)
        self.progress = {name: seen for name, seen in self.progress.items() if name in {job_name(s) for s in jobs}}

    async def _guarded(self, stored: StoredObject, step: Awaitable[None], lease: Lease) -> None:
        """One job's trouble is not another's: what may pass is left to the next tick, what will not fails the job."""
        try:
            try:
                await step
            except (InvalidRequest, OSError, ValueError) as err:
                await self._fail(stored, str(err), lease)
        except (Conflict, CloudUnavailable) as err:
            log.warning("job left to the next tick", extra={"job": str(stored.key), "reason": str(err)})

    async def _fail(self, stored: StoredObject, reason: str, lease: Lease) -> None:
        claim = self._claim(stored, lease, ClaimPhase.RELEASED)
        put = Put(stored.key, stored.owner, None, status=_status(JobPhase.FAILED, reason))
        await asyncio.to_thread(self.store.commit, Batch(writes=(put,), claims=(claim,), epoch=lease.epoch))
        log.warning("job failed", extra={"job": str(stored.key), "reason": reason})

    def _clusters(self, world: World) -> list[Cluster]:
        """The embedded cluster of this region, if its site is declared."""
        site = world.find("Site", "", self.region)
        if site is None:
            return []
        capacity = site_spec(site, (), True).capacity
        held = sum((c.need for c in world.claims if c.site == self.region), Resources())
        return [Cluster(self.region, capacity, capacity - held)]

    async def _act(self, action: Admit | Hold, stored: StoredObject, world: World, lease: Lease) -> None:
        """Claim the room of all workers at once and submit; or wait, with the reason."""
        if isinstance(action, Hold):
            status = _status(JobPhase.PENDING, action.detail)
            await self._put(stored, status, lease)
            return
        status = _status(transition(JobPhase.PENDING, JobEvent.ADMITTED), "admitted")
        site = world.objects["Site"][Key("Site", "", action.site)]
        batch = Batch(
            writes=(Put(stored.key, stored.owner, stored.revision, status=status),),
            claims=(self._claim(stored, lease, ClaimPhase.BOUND),),
            capacities={action.site: site_spec(site, (), True).capacity},
            epoch=lease.epoch,
        )
        await asyncio.to_thread(self.store.commit, batch)
        await self._submit(stored)

    async def _put(self, stored: StoredObject, status: dict[str, Json], lease: Lease) -> None:
        put = Put(stored.key, stored.owner, stored.revision, status=status)
        await asyncio.to_thread(self.store.commit, Batch(writes=(put,), epoch=lease.epoch))

    async def _submit(self, stored: StoredObject) -> None:
        await self.trainer.submit(job_name(stored), json.dumps(dict(stored.spec)), self._folder(stored))

    def _folder(self, stored: StoredObject) -> Path:
        return self.jobs_dir / stored.key.namespace / stored.key.name / stored.uid

    def _claim(self, stored: StoredObject, lease: Lease, phase: ClaimPhase) -> Claim:
        return Claim(
            id=_claim_id(stored),
            site=self.region,
            node=None,
            need=_queued(stored).need,
            phase=phase,
            hold=JobHold(_ref(stored.key)),
            decision=None,
            epoch=lease.epoch,
            since_s=self.clock.wall_s(),
        )

    async def _watch(self, stored: StoredObject, lease: Lease) -> None:
        progress = await self.trainer.progress(job_name(stored))
        if progress is None:
            # Ray came back empty; the job goes on from its last checkpoint.
            await self._submit(stored)
            return
        self.progress[job_name(stored)] = progress
        if progress.phase.ended:
            await self._end(stored, progress, lease)
        elif progress.phase is not phase_of(stored):
            phase = transition(phase_of(stored), EVENTS[progress.phase])
            await self._put(stored, _status(phase, progress.message), lease)

    async def _end(self, stored: StoredObject, progress: JobProgress, lease: Lease) -> None:
        """Register what came out and free the claim, in one commit."""
        phase = transition(phase_of(stored), EVENTS[progress.phase])
        status = _status(phase, progress.message) | {"step": progress.step, "steps": progress.steps}
        status["metrics"] = dict(progress.metrics)
        writes: list[Put] = []
        if progress.result_json:
            status["result"] = json.loads(progress.result_json)
        if progress.phase is JobPhase.SUCCEEDED and progress.result_json:
            version = await asyncio.to_thread(
                trained_version, stored, json.loads(progress.result_json), self._folder(stored), self.describer
            )
            status["version"] = version.key.name
            writes.append(version)
            if await asyncio.to_thread(self._exists, version.key):
                remedy = "a version is immutable: train under another job name, or delete it first"
                raise InvalidRequest("metadata.name", stored.key.name, f"{version.key} exists already; {remedy}")
        writes.append(Put(stored.key, stored.owner, stored.revision, status=status))
        batch = Batch(
            writes=tuple(writes), claims=(self._claim(stored, lease, ClaimPhase.RELEASED),), epoch=lease.epoch
        )
        await asyncio.to_thread(self.store.commit, batch)
        log.info("job ended", extra={"job": str(stored.key), "phase": progress.phase.value})

    def _exists(self, key: Key) -> bool:
        try:
            self.store.get(key)
        except NotFound:
            return False
        return True

    async def _release_orphans(self, world: World, lease: Lease) -> None:
        """Claims of jobs that were deleted, also of those that were created anew under the same name."""
        known = {_claim_id(stored) for stored in world.of("TrainingJob")}
        for claim in world.claims:
            if isinstance(claim.hold, JobHold) and claim.id not in known:
                try:
                    await self.trainer.stop(claim.id.removeprefix("job/").replace("/", "."))
                except CloudUnavailable as err:
                    log.warning("deleted job not stopped yet", extra={"claim": claim.id, "reason": str(err)})
                    continue
                released = replace(claim, phase=ClaimPhase.RELEASED, epoch=lease.epoch, since_s=self.clock.wall_s())
                await asyncio.to_thread(self.store.commit, Batch(claims=(released,), epoch=lease.epoch))


def _claim_id(stored: StoredObject) -> ReplicaId:
    return ReplicaId(f"job/{stored.key.namespace}/{stored.key.name}/{stored.uid}")


def _ref(key: Key) -> JobRef:
    return JobRef(key.namespace, key.name)


def _queued(stored: StoredObject) -> QueuedJob:
    workers = stored.spec["workers"]
    assert isinstance(workers, int)  # the form says so
    return QueuedJob(_ref(stored.key), 0, stored.created_wall_s, workers, WORKER_NEED)


def job_name(stored: StoredObject) -> str:
    """Names the submission on its cluster. With the uid: a job created anew under a name is another job."""
    return f"{stored.key.namespace}.{stored.key.name}.{stored.uid}"


def _status(phase: JobPhase, message: str) -> dict[str, Json]:
    succeeded = phase is JobPhase.SUCCEEDED
    return {
        "phase": phase.value.capitalize(),
        "message": message,
        "conditions": [condition("Complete", succeeded, phase.value.capitalize(), message)],
    }
