"""Phases of things that have a history."""

from enum import StrEnum


class ReplicaPhase(StrEnum):
    """As its holder reports it. UNKNOWN is the control plane's: the holder is silent."""

    FETCHING = "fetching"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ClaimPhase(StrEnum):
    RESERVED = "reserved"  # committed, not yet running
    BOUND = "bound"  # running
    DRAINING = "draining"  # being stopped; still holds its resources
    RELEASED = "released"


class NodePhase(StrEnum):
    ATTACHED = "attached"
    UNKNOWN = "unknown"  # silent, which is not dead: each service's policy says how long it waits


class JobPhase(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    EVALUATING = "evaluating"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"  # the evaluation gate
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (JobPhase.SUCCEEDED, JobPhase.REJECTED, JobPhase.FAILED)
