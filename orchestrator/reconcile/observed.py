"""What the links report, as the pure rooms see it."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.model.ids import NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources


@dataclass(frozen=True, slots=True)
class SeenReplica:
    """A replica as its holder last reported it. `address` is set for those that a gateway dials."""

    replica: ReplicaId
    incarnation: str
    phase: ReplicaPhase
    reason: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class SeenNode:
    """A node as a front holds it. `silent_s` is 0 while it is attached."""

    node: NodeName
    site: SiteName
    phase: NodePhase
    silent_s: float
    capacity: Resources
    lan_address: str
    held_revision: int
    replicas: Mapping[ReplicaId, SeenReplica]


@dataclass(frozen=True, slots=True)
class SeenCloudReplica:
    """A cloud replica that holds its registration open."""

    seen: SeenReplica
    site: SiteName
    service: ServiceRef
    version: VersionRef


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything seen at one moment."""

    nodes: Mapping[NodeName, SeenNode]
    cloud: Mapping[ReplicaId, SeenCloudReplica]
