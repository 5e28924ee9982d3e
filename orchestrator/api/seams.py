"""What the control API asks of the control plane."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.model.ids import DecisionId, NodeName, ServiceRef, SiteName
from orchestrator.model.nodes import Schedule
from orchestrator.model.stored import Change, DecisionRecord, Json, Key, Owner, StoredObject


@dataclass(frozen=True, slots=True)
class Applied:
    object: StoredObject
    action: str  # "created", "configured", "unchanged"
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    decision: str
    decision_json: str
    snapshot_json: str
    age_s: float
    view_json: str = ""  # a PlacementView (orchestrator/model/view.py), where it was asked for
    remedies_json: tuple[str, ...] = ()
    held: str = ""  # why this is not in force
    kept_s: float = 0.0  # since it was last planned, where nothing has touched it


@dataclass(frozen=True, slots=True)
class Part:
    """One running part, for `skerry status`."""

    kind: str
    name: str
    phase: str
    detail: str
    age_s: float


@dataclass(frozen=True, slots=True)
class NodeReplica:
    """A replica as its node last reported it."""

    name: str
    phase: str
    reason: str


@dataclass(frozen=True, slots=True)
class NodeAccelerator:
    """As its node found it."""

    kind: str
    name: str
    device: str


@dataclass(frozen=True, slots=True)
class NodeMachine:
    """What a node is made of, by its own word."""

    architecture: str
    kernel: str
    system: str
    cpus: int
    memory_bytes: int
    disk_bytes: int
    accelerators: tuple[NodeAccelerator, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """What a node announced last that it uses; it announces changes by a step, and one every five minutes."""

    age_s: float
    cpu_share: float
    memory_available_bytes: int
    agent_bytes: int
    replicas_bytes: int
    disk_free_bytes: int
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as it registered itself, for `skerry get nodes`. `front` holds it, or held it last."""

    name: str
    site: str
    front: str
    phase: str
    silent_s: float  # 0 while attached
    memory_bytes: int
    compute_millis: int
    lan_address: str
    replicas: tuple[NodeReplica, ...]
    machine: NodeMachine | None = None  # None: an older agent, or what it said cannot be
    usage: NodeUsage | None = None


@dataclass(frozen=True, slots=True)
class Status:
    version: str
    epoch: int
    leader: str
    decision: str
    sequence: int
    parts: tuple[Part, ...]
    nodes: tuple[NodeView, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    job: str
    phase: str
    step: int
    steps: int
    message: str
    metrics: dict[str, float]
    object: StoredObject | None


@dataclass(frozen=True, slots=True)
class PushedModel:
    namespace: str
    name: str
    format: str
    digest: str
    size_bytes: int
    owner: Owner
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Planned:
    """What applying would change; `plan_json` is a Plan (orchestrator/model/plan.py)."""

    changed: bool
    plan_json: str
    view_json: str = ""  # a PlacementView (orchestrator/model/view.py), where it was asked for


@dataclass(frozen=True, slots=True)
class KeptDecision:
    """A stored decision; its texts only where one was asked for by its id."""

    record: DecisionRecord
    age_s: float
    in_force: bool
    inputs_json: str = ""
    decision_json: str = ""


@dataclass(frozen=True, slots=True)
class KeptDecisions:
    """`retention` says in words what is kept."""

    decisions: tuple[KeptDecision, ...]
    retention: str


@dataclass(frozen=True, slots=True)
class Replay:
    """A decision made again; `plan_json` is the Plan that leads from the stored one to it."""

    decision: str
    age_s: float
    equal: bool
    differences: tuple[str, ...]
    decided_by: str
    replayed_by: str
    plan_json: str
    decision_json: str


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token without its secret."""

    id: str
    site: str
    uses: int
    nodes: tuple[str, ...]  # that joined with it
    expires_in_s: float
    labels: Mapping[str, str]
    revoked: bool
    age_s: float


@dataclass(frozen=True, slots=True)
class NewToken:
    """`text` is told once."""

    token: TokenView
    text: str


class ControlPlane(Protocol):
    """Raises only the errors of orchestrator.errors."""

    async def apply(self, documents: Sequence[dict[str, Json]], owner: Owner, dry_run: bool) -> list[Applied]: ...

    async def get(self, key: Key) -> StoredObject: ...

    async def list_objects(self, kind: str, namespace: str | None) -> tuple[list[StoredObject], int]: ...

    async def delete(self, key: Key, owner: Owner, revision: int | None) -> StoredObject: ...

    async def schedule_node(self, node: NodeName, action: Schedule) -> StoredObject:
        """The node's object as it is then."""
        ...

    def watch(self, after_sequence: int, kind: str, namespace: str | None) -> AsyncIterator[Change]: ...

    async def explain(
        self, service: ServiceRef, site: SiteName | None, view: bool = False, remedied: bool = False
    ) -> Explanation:
        """`remedied`: with what would help unserved demands, which takes some plans."""
        ...

    async def plan(self, documents: Sequence[dict[str, Json]], owner: Owner, view: bool) -> Planned: ...

    async def decisions(self, id: DecisionId | None, limit: int) -> KeptDecisions: ...

    async def replay(self, id: DecisionId, policy: dict[str, Json] | None) -> Replay: ...

    async def status(self) -> Status: ...

    def train(self, document: dict[str, Json], owner: Owner) -> AsyncIterator[Progress]: ...

    def logs(self, key: Key, follow: bool) -> AsyncIterator[str]: ...

    async def push(self, model: PushedModel, data: AsyncIterator[bytes]) -> StoredObject: ...

    async def create_tokens(
        self, site: str, uses: int, ttl_s: float, labels: Mapping[str, str], tokens: int
    ) -> tuple[list[NewToken], tuple[str, ...]]:
        """Also where to join."""
        ...

    async def certify(self, role: str, name: str, request_pem: bytes, hosts: tuple[str, ...]) -> tuple[bytes, bytes]:
        """The certificate with what leads up from it, and the authority; both in PEM."""
        ...

    async def tokens(self) -> list[TokenView]: ...

    async def revoke_token(self, id: str) -> TokenView: ...
