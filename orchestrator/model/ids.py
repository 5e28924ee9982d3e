"""Names. Objects are scoped by namespace; sites, zones, regions, nodes and fronts belong to the whole installation."""

from dataclasses import dataclass
from typing import NewType

SiteName = NewType("SiteName", str)
ZoneName = NewType("ZoneName", str)
NodeName = NewType("NodeName", str)
FrontName = NewType("FrontName", str)
ReplicaId = NewType("ReplicaId", str)  # never changes its site: a move is a new id
DecisionId = NewType("DecisionId", str)
Digest = NewType("Digest", str)  # "sha256:<hex>"


@dataclass(frozen=True, slots=True, order=True)
class ServiceRef:
    """A model service: the name that callers use, in its namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class VersionRef:
    """A model version: immutable once registered."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class JobRef:
    """A training job in its namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
