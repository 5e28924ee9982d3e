"""What the agent's step asks of its host. Each is performed apart; what comes of it returns as an event."""

from dataclasses import dataclass, field
from typing import TypeAlias

from workers.edge.assignment import Artifact, Assignment, ReplicaAssignment, Report


@dataclass(frozen=True, slots=True)
class SaveAssignment:
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class SaveContact:
    """Write down how long the node has been offline: 0 while attached."""

    offline_s: float


@dataclass(frozen=True, slots=True)
class FetchArtifact:
    """With what is said of it: from the disk if it is there, else from nodes of the site, else from the front.

    Answers ArtifactVerified or FetchFailed.
    """

    artifact: Artifact
    namespace: str = "default"
    rollout_bps: int = 0  # over the WAN; 0: no limit


@dataclass(frozen=True, slots=True)
class CancelFetch:
    """Nobody needs it any more; what came is kept."""

    digest: str


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Beside whatever runs. Answers ModelLoaded, ModelLoadFailed, ArtifactSpoilt, or LoadRefused."""

    replica: ReplicaAssignment
    incarnation: str
    silent_s: float = field(default=0.0, compare=False)  # since the last contact: how old the revocations are


@dataclass(frozen=True, slots=True)
class CheckTrust:
    """Whether a loaded model would be loaded now. Answers LoadRefused, or nothing."""

    replica: ReplicaAssignment
    incarnation: str


@dataclass(frozen=True, slots=True)
class DescribeModel:
    """The same content is assigned under another decision: answers say so from now on, nothing is loaded."""

    replica: ReplicaAssignment
    incarnation: str


@dataclass(frozen=True, slots=True)
class DrainModel:
    """Take no more calls, finish those under way. Answers ModelDrained."""

    incarnation: str


@dataclass(frozen=True, slots=True)
class UnloadModel:
    incarnation: str


@dataclass(frozen=True, slots=True)
class PruneArtifacts:
    keep: frozenset[str]


@dataclass(frozen=True, slots=True)
class SendReport:
    """The latest is the one that counts; it is kept while there is no link."""

    report: Report


Action: TypeAlias = (
    SaveAssignment
    | SaveContact
    | FetchArtifact
    | CancelFetch
    | LoadModel
    | CheckTrust
    | DescribeModel
    | DrainModel
    | UnloadModel
    | PruneArtifacts
    | SendReport
)
