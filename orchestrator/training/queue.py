"""The queue: jobs in order, each whole on one cluster or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from orchestrator.model.ids import JobRef, SiteName
from orchestrator.model.resources import Resources


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that waits. `since_s` is when it was created: among equals the older one goes first."""

    ref: JobRef
    priority: int
    since_s: float
    workers: int
    worker_need: Resources

    @property
    def need(self) -> Resources:
        """Of the whole gang: a worker that waits for the others would hold its resources for nothing."""
        return self.worker_need * self.workers


@dataclass(frozen=True, slots=True)
class Cluster:
    """A place that runs jobs: all that it has, and what no claim holds of it."""

    site: SiteName
    capacity: Resources
    free: Resources
    reachable: bool = True


class HoldReason(StrEnum):
    NO_CLUSTER = "no-cluster"  # none is declared and reachable
    TOO_LARGE = "too-large"  # for every cluster, also an empty one
    NO_ROOM = "no-room"  # until something that runs there ends
    BEHIND = "behind"  # it would fit, but a job before it waits for that room


@dataclass(frozen=True, slots=True)
class Admit:
    """Claim the gang's resources there, then submit."""

    job: JobRef
    site: SiteName


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait. `detail` is one sentence with both numbers and what would help."""

    job: JobRef
    reason: HoldReason
    detail: str


Action: TypeAlias = Admit | Hold


def in_order(jobs: Sequence[QueuedJob]) -> list[QueuedJob]:
    """Priority first, then age; equal ones by name, so that one queue has one order however it is listed."""
    return sorted(jobs, key=lambda job: (-job.priority, job.since_s, job.ref))


def admit(jobs: Sequence[QueuedJob], clusters: Sequence[Cluster]) -> list[Action]:
    """One action per job, in the queue's order.

    A job that waits for room keeps later ones off every cluster that it could run on: else small jobs would pass a
    large one for ever. A job too large for every cluster blocks nobody. Of several clusters with room the fullest is
    taken, which keeps large gaps for large jobs.
    """
    open_clusters = {each.site: each for each in clusters if each.reachable}
    blocked: dict[SiteName, JobRef] = {}
    actions: list[Action] = []
    for job in in_order(jobs):
        action = _action(job, open_clusters, blocked)
        actions.append(action)
        if isinstance(action, Admit):
            taken = open_clusters[action.site]
            open_clusters[action.site] = replace(taken, free=taken.free - job.need)
        elif action.reason in (HoldReason.NO_ROOM, HoldReason.BEHIND):
            for site in sorted(open_clusters):
                if job.need.fits_in(open_clusters[site].capacity):
                    blocked.setdefault(site, job.ref)
    return actions


def _action(job: QueuedJob, clusters: dict[SiteName, Cluster], blocked: dict[SiteName, JobRef]) -> Action:
    if not clusters:
        detail = "no cluster is declared and reachable: apply a Site of kind region, or start its Ray"
        return Hold(job.ref, HoldReason.NO_CLUSTER, detail)
    possible = [each for each in clusters.values() if job.need.fits_in(each.capacity)]
    if not possible:
        return Hold(job.ref, HoldReason.TOO_LARGE, _too_large(job, list(clusters.values())))
    roomy = [each for each in possible if job.need.fits_in(each.free)]
    takers = [each for each in roomy if each.site not in blocked]
    if takers:
        fullest = min(takers, key=lambda each: (each.free.memory_bytes, each.free.compute_millis, each.site))
        return Admit(job.ref, fullest.site)
    if roomy:
        ahead = blocked[min(each.site for each in roomy)]
        return Hold(job.ref, HoldReason.BEHIND, f"{ahead} is before it and waits for room; raise the priority to pass")
    return Hold(job.ref, HoldReason.NO_ROOM, _no_room(job, possible))


def _too_large(job: QueuedJob, clusters: list[Cluster]) -> str:
    largest = max(clusters, key=lambda each: (each.capacity.memory_bytes, each.capacity.compute_millis, each.site))
    return f"{_wants(job)}; {largest.site} has {_shown(largest.capacity)} in all: use fewer workers or raise its quota"


def _no_room(job: QueuedJob, possible: list[Cluster]) -> str:
    freest = max(possible, key=lambda each: (each.free.memory_bytes, each.free.compute_millis, each.site))
    return f"{_wants(job)}; {freest.site} has {_shown(freest.free)} free: it starts when something there ends"


def _wants(job: QueuedJob) -> str:
    return f"{job.workers} workers need {_shown(job.need)}"


def _shown(resources: Resources) -> str:
    return f"{resources.memory_bytes / 2**20:.0f} MiB and {resources.compute_millis / 1000:g} cores"
