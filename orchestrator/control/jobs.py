"""The training loop: admit, submit, watch, register. A job's phase is stored; its progress is asked of its cluster."""

import asyncio
import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.control.registering import trained_version
from orchestrator.control.seams import Store, Trainer
from orchestrator.control.statuses import condition
from orchestrator.control.world import World, read_world
from orchestrator.errors import ClaimRefused, CloudUnavailable, Conflict
from orchestrator.model.claims import Claim, JobHold
from orchestrator.model.ids import JobRef, ReplicaId, SiteName
from orchestrator.model.phases import ClaimPhase, JobPhase
from orchestrator.model.resources import Resources
from orchestrator.model.running import JobProgress
from orchestrator.model.stored import Batch, Json, Key, Lease, Put, StoredObject
from orchestrator.objects.translate import site_spec
from workers.artifacts.library import ArtifactLibrary

log = logging.getLogger(__name__)

WORKER_NEED = Resources(memory_bytes=768 * 1024 * 1024, compute_millis=1000)  # TensorFlow alone takes 600 MiB
RUNNING = (JobPhase.RUNNING, JobPhase.EVALUATING)


@dataclass(slots=True)
class TrainingLoop:
    """Runs under the leader's epoch beside the placement loop; both claim from the same ledger."""

    store: Store
    trainer: Trainer
    library: ArtifactLibrary
    clock: Clock
    region: SiteName
    jobs_dir: Path
    progress: dict[JobRef, JobProgress] = field(default_factory=dict)

    async def tick(self, lease: Lease) -> None:
        world = await asyncio.to_thread(read_world, self.store)
        jobs = sorted(world.of("TrainingJob"), key=lambda s: (s.created_wall_s, s.key))
        await self._release_orphans(world, lease)
        for stored in jobs:
            phase = phase_of(stored)
            try:
                if phase is JobPhase.PENDING:
                    await self._admit(stored, world, lease)
                elif phase in RUNNING:
                    await self._watch(stored, lease)
            except Conflict as err:
                log.warning("job left to the next tick", extra={"job": str(stored.key), "reason": str(err)})
            except CloudUnavailable as err:
                log.warning("cluster does not answer", extra={"job": str(stored.key), "reason": str(err)})

    async def _admit(self, stored: StoredObject, world: World, lease: Lease) -> None:
        """Claim room for all workers at once, or wait with the reason."""
        site = world.find("Site", "", self.region)
        if site is None:
            await self._wait(stored, lease, f"region {self.region} is not declared: apply a Site of kind region")
            return
        claim = self._claim(stored, lease, ClaimPhase.BOUND)
        status = _status(JobPhase.RUNNING, "admitted")
        batch = Batch(
            writes=(Put(stored.key, stored.owner, stored.revision, status=status),),
            claims=(claim,),
            capacities={self.region: site_spec(site, (), True).capacity},
            epoch=lease.epoch,
        )
        try:
            await asyncio.to_thread(self.store.commit, batch)
        except ClaimRefused as err:
            await self._wait(stored, lease, str(err))
            return
        await self._submit(stored)

    async def _wait(self, stored: StoredObject, lease: Lease, reason: str) -> None:
        status = _status(JobPhase.PENDING, reason)
        put = Put(stored.key, stored.owner, stored.revision, status=status)
        await asyncio.to_thread(self.store.commit, Batch(writes=(put,), epoch=lease.epoch))

    async def _submit(self, stored: StoredObject) -> None:
        await self.trainer.submit(job_name(stored.key), json.dumps(dict(stored.spec)), self._folder(stored.key))

    def _folder(self, key: Key) -> Path:
        return self.jobs_dir / key.namespace / key.name

    def _claim(self, stored: StoredObject, lease: Lease, phase: ClaimPhase) -> Claim:
        workers = stored.spec.get("workers")
        return Claim(
            id=ReplicaId(f"job/{stored.key.namespace}/{stored.key.name}"),
            site=self.region,
            node=None,
            need=WORKER_NEED * (workers if isinstance(workers, int) else 1),
            phase=phase,
            hold=JobHold(JobRef(stored.key.namespace, stored.key.name)),
            decision=None,
            epoch=lease.epoch,
            since_s=self.clock.wall_s(),
        )

    async def _watch(self, stored: StoredObject, lease: Lease) -> None:
        progress = await self.trainer.progress(job_name(stored.key))
        if progress is None:
            # Ray came back empty; the job goes on from its last checkpoint.
            await self._submit(stored)
            return
        self.progress[JobRef(stored.key.namespace, stored.key.name)] = progress
        if progress.phase.ended:
            await self._end(stored, progress, lease)
        elif progress.phase is not phase_of(stored):
            status = _status(progress.phase, progress.message)
            put = Put(stored.key, stored.owner, stored.revision, status=status)
            await asyncio.to_thread(self.store.commit, Batch(writes=(put,), epoch=lease.epoch))

    async def _end(self, stored: StoredObject, progress: JobProgress, lease: Lease) -> None:
        """Register what came out and free the claim, in one commit."""
        status = _status(progress.phase, progress.message) | {"step": progress.step, "steps": progress.steps}
        status["metrics"] = dict(progress.metrics)
        writes: list[Put] = []
        if progress.result_json:
            status["result"] = json.loads(progress.result_json)
        if progress.phase is JobPhase.SUCCEEDED and progress.result_json:
            version = await asyncio.to_thread(
                trained_version, stored, json.loads(progress.result_json), self._folder(stored.key), self.library
            )
            status["version"] = version.key.name
            writes.append(version)
        writes.append(Put(stored.key, stored.owner, stored.revision, status=status))
        batch = Batch(
            writes=tuple(writes), claims=(self._claim(stored, lease, ClaimPhase.RELEASED),), epoch=lease.epoch
        )
        await asyncio.to_thread(self.store.commit, batch)
        log.info("job ended", extra={"job": str(stored.key), "phase": progress.phase.value})

    async def _release_orphans(self, world: World, lease: Lease) -> None:
        """Claims of jobs that were deleted."""
        for claim in world.claims:
            if not isinstance(claim.hold, JobHold):
                continue
            job = claim.hold.job
            if world.find("TrainingJob", job.namespace, job.name) is None:
                await self.trainer.stop(job_name(Key("TrainingJob", job.namespace, job.name)))
                released = replace(claim, phase=ClaimPhase.RELEASED, epoch=lease.epoch, since_s=self.clock.wall_s())
                await asyncio.to_thread(self.store.commit, Batch(claims=(released,), epoch=lease.epoch))


def job_name(key: Key) -> str:
    """Names the submission on its cluster."""
    return f"{key.namespace}.{key.name}"


def phase_of(stored: StoredObject) -> JobPhase:
    """PENDING until the loop has said otherwise."""
    found = stored.status.get("phase")
    return JobPhase(str(found).lower()) if found else JobPhase.PENDING


def _status(phase: JobPhase, message: str) -> dict[str, Json]:
    succeeded = phase is JobPhase.SUCCEEDED
    return {
        "phase": phase.value.capitalize(),
        "message": message,
        "conditions": [condition("Complete", succeeded, phase.value.capitalize(), message)],
    }
