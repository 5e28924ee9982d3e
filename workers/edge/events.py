"""What has happened to a node: everything that the agent's step is told."""

from dataclasses import dataclass
from typing import TypeAlias

from workers.edge.assignment import Assignment
from workers.edge.resources import Machine, Usage
from workers.probe.legs import Sample


@dataclass(frozen=True, slots=True)
class Restarted:
    """First event of every boot: what the disk holds. `offline_s`: since the last contact, as far as it is known."""

    assignment: Assignment | None
    offline_s: float
    artifacts: tuple[tuple[str, int], ...] = ()  # digest and bytes, the oldest first


@dataclass(frozen=True, slots=True)
class AssignmentReceived:
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class FetchProgressed:
    digest: str
    fetched_bytes: int


@dataclass(frozen=True, slots=True)
class ArtifactVerified:
    """The bytes on disk are the digest's."""

    digest: str


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """Not on disk, and not to be had now."""

    digest: str
    reason: str
    disk_full: bool = False


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    incarnation: str


@dataclass(frozen=True, slots=True)
class ModelLoadFailed:
    """`again`: its process crashed or hung, so that another try may do better; else the file is at fault."""

    incarnation: str
    reason: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class ModelEnded:
    """The process of a loaded model is gone, and nobody asked for it."""

    incarnation: str
    reason: str


@dataclass(frozen=True, slots=True)
class ArtifactSpoilt:
    """The file was no longer what it was when it was verified; it was not loaded."""

    incarnation: str
    reason: str


@dataclass(frozen=True, slots=True)
class LoadRefused:
    """Nobody who is trusted vouches for the model, or not any more: it must not serve."""

    incarnation: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelDrained:
    """No call is under way in it any more."""

    incarnation: str


@dataclass(frozen=True, slots=True)
class LinkOpened:
    front: str
    rest_s: float = 0.0  # between two probes while nothing changes; 0: they are taken all the time


@dataclass(frozen=True, slots=True)
class LinkLost:
    reason: str


@dataclass(frozen=True, slots=True)
class ProbeSampled:
    sample: Sample


@dataclass(frozen=True, slots=True)
class ResourcesSampled:
    usage: Usage
    machine: Machine


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time went by; about once a second."""


Event: TypeAlias = (
    Restarted
    | AssignmentReceived
    | FetchProgressed
    | ArtifactVerified
    | FetchFailed
    | ModelLoaded
    | ModelLoadFailed
    | ModelEnded
    | ArtifactSpoilt
    | LoadRefused
    | ModelDrained
    | LinkOpened
    | LinkLost
    | ProbeSampled
    | ResourcesSampled
    | Ticked
)
