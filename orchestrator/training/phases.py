"""What may become of a training job: one table."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from orchestrator.model.phases import JobPhase


class JobEvent(StrEnum):
    ADMITTED = "admitted"  # its claim was committed
    CLUSTER_LOST = "cluster-lost"  # the cluster forgot it; submitted again, it resumes from its checkpoint
    TRAINED = "trained"  # the last step is done, the held-out images are next
    PASSED = "passed"  # the evaluation gate, and its variants are there
    REFUSED = "refused"  # by the evaluation gate
    BROKE = "broke"  # an error in the job itself, or too many lost workers
    PREEMPTED = "preempted"  # its claim was taken back: it waits again


class InvalidTransition(Exception):
    """An event that cannot happen in this phase: a bug in whoever reported it."""

    def __init__(self, phase: JobPhase, event: JobEvent, story: Sequence[JobEvent]) -> None:
        self.phase, self.event, self.story = phase, event, tuple(story)
        told = " -> ".join(story) or "nothing yet"
        super().__init__(f"job is {phase} and cannot be {event}; its story so far: {told}")


TRANSITIONS: Mapping[tuple[JobPhase, JobEvent], JobPhase] = {
    (JobPhase.PENDING, JobEvent.ADMITTED): JobPhase.RUNNING,
    (JobPhase.PENDING, JobEvent.BROKE): JobPhase.FAILED,  # its spec cannot be run
    (JobPhase.RUNNING, JobEvent.CLUSTER_LOST): JobPhase.RUNNING,
    (JobPhase.RUNNING, JobEvent.TRAINED): JobPhase.EVALUATING,
    (JobPhase.RUNNING, JobEvent.PASSED): JobPhase.SUCCEEDED,  # between two looks it did both
    (JobPhase.RUNNING, JobEvent.REFUSED): JobPhase.REJECTED,
    (JobPhase.RUNNING, JobEvent.BROKE): JobPhase.FAILED,
    (JobPhase.RUNNING, JobEvent.PREEMPTED): JobPhase.PENDING,
    (JobPhase.EVALUATING, JobEvent.CLUSTER_LOST): JobPhase.RUNNING,
    (JobPhase.EVALUATING, JobEvent.PASSED): JobPhase.SUCCEEDED,
    (JobPhase.EVALUATING, JobEvent.REFUSED): JobPhase.REJECTED,
    (JobPhase.EVALUATING, JobEvent.BROKE): JobPhase.FAILED,
    (JobPhase.EVALUATING, JobEvent.PREEMPTED): JobPhase.PENDING,
}


def transition(phase: JobPhase, event: JobEvent, story: Sequence[JobEvent] = ()) -> JobPhase:
    """Raises InvalidTransition; `story` is what happened to the job before, for its message."""
    try:
        return TRANSITIONS[phase, event]
    except KeyError:
        raise InvalidTransition(phase, event, story) from None
