"""What the control plane asks of a region's Ray, and what it hears back."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.model.phases import JobPhase


@dataclass(frozen=True, slots=True)
class CloudReplicas:
    """What one cloud deployment should be: `count` replicas of one service's version."""

    namespace: str
    service: str
    version: str
    digest: str
    format: str
    count: int
    memory_bytes: int
    compute_millis: int


@dataclass(frozen=True, slots=True)
class JobProgress:
    """A running job as its cluster sees it. `result` is set once it ended well: accuracy, variants, artifacts."""

    phase: JobPhase
    step: int
    steps: int
    message: str
    metrics: Mapping[str, float]
    result_json: str | None
