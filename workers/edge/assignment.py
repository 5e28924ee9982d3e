"""What a node should hold, and what it says it holds: frozen values, apart from how they travel."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from workers.artifacts.trust import Trust
from workers.edge.resources import Usage
from workers.probe.legs import LegEstimate


class Phase(StrEnum):
    """Of a replica, as its node sees it."""

    FETCHING = "fetching"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Artifact:
    digest: str
    size_bytes: int
    format: str  # "tflite" or "savedmodel.tar"
    # How the bytes come and who vouches for them may change while they stay the same: no reason to load them again.
    manifest: str = field(default="", compare=False)  # digest; empty: none, it is fetched as a whole
    signature: str = field(default="", compare=False)  # digest; empty: nobody signed it


class Isolation(StrEnum):
    """Where a replica runs: in the agent's process, or in one of its own that is held to its claim."""

    UNTOLD = "untold"  # on the wire only: as it was assigned before
    SHARED = "shared"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Content:
    """What a replica is made of. Two assignments with the same content need no new load."""

    replica: str
    namespace: str
    service: str
    version: str
    artifact: Artifact
    isolation: Isolation = Isolation.SHARED


@dataclass(frozen=True, slots=True)
class ReplicaAssignment:
    content: Content
    memory_bytes: int
    decision: str
    valid_offline_s: int
    draining: bool
    compute_millis: int = 0  # 0: not told
    rollout_bps: int = 0  # most that its artifact may take of the WAN; 0: no limit
    single_writer: bool = False  # once it was alone for longer than that, it serves only by a newer assignment

    @property
    def model_key(self) -> str:
        """The name by which an inference server on this node knows the service."""
        return model_key(self.content.namespace, self.content.service)


@dataclass(frozen=True, slots=True)
class PeerNode:
    """A node of the same site that is assigned what this one is."""

    node: str
    address: str  # host:port


@dataclass(frozen=True, slots=True)
class Assignment:
    """The node's whole desired state."""

    revision: int
    replicas: tuple[ReplicaAssignment, ...] = ()
    trust: Trust | None = None  # None: not said; what was said last holds
    peers: tuple[PeerNode, ...] = ()

    def after(self, held: "Assignment") -> "Assignment":
        """With what it leaves untold taken from `held`: a control plane that cannot read a policy moves nothing."""
        before = {each.content.replica: each.content.isolation for each in held.replicas}

        def told(each: ReplicaAssignment) -> ReplicaAssignment:
            if each.content.isolation is not Isolation.UNTOLD:
                return each
            isolation = before.get(each.content.replica, Isolation.SHARED)
            return replace(each, content=replace(each.content, isolation=isolation))

        replicas = tuple(told(each) for each in self.replicas)
        return replace(self, replicas=replicas, trust=self.trust or held.trust)


@dataclass(frozen=True, slots=True)
class ReplicaState:
    replica: str
    incarnation: str
    phase: Phase
    reason: str = ""
    fetched_bytes: int = 0
    total_bytes: int = 0
    restarts: int = 0  # of its process, since it last served steadily


@dataclass(frozen=True, slots=True)
class LanDemand:
    """What callers on the node's LAN asked of one service since the node booted."""

    namespace: str
    service: str
    calls: int = 0
    failed: int = 0
    request_bytes: int = 0
    response_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The node's whole observed state."""

    held_revision: int
    replicas: tuple[ReplicaState, ...]
    legs: tuple[LegEstimate, ...]
    demand: tuple[LanDemand, ...] = ()  # as of when it is sent
    usage: Usage | None = None  # the one announced last


def model_key(namespace: str, service: str) -> str:
    """`service` in the default namespace, else `namespace/service`."""
    return service if namespace in ("", "default") else f"{namespace}/{service}"
