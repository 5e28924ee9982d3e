"""What the store hands out: objects with a revision and an owner, and the log of their changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from orchestrator.model.claims import Claim
from orchestrator.model.ids import DecisionId, SiteName
from orchestrator.model.resources import Resources

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Json]


class Owner(StrEnum):
    """Who manages an object (metadata.managedBy); the others are refused."""

    COMMAND = "command"
    OPERATOR = "operator"  # the Kubernetes operator
    CONTROL = "control"  # made by the control plane itself, e.g. versions that it trained


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Identifies an object. `namespace` is "" for kinds that belong to the whole installation."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as written. `revision` rises with every write, `generation` only when `spec` changes."""

    key: Key
    uid: str
    revision: int
    generation: int
    owner: Owner
    labels: Mapping[str, str]
    spec: JsonObject
    status: JsonObject
    created_wall_s: float


class ChangeType(StrEnum):
    PUT = "put"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change log; sequences rise and may have gaps."""

    sequence: int
    type: ChangeType
    object: StoredObject


@dataclass(frozen=True, slots=True)
class Put:
    """Write an object. `expected_revision` 0: it must not exist; None: whatever is there (its owner still counts).

    None for `spec`, `status` or `labels` keeps what is stored, so that a status is written without touching the spec.
    """

    key: Key
    owner: Owner
    expected_revision: int | None
    spec: JsonObject | None = None
    status: JsonObject | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    key: Key
    owner: Owner
    expected_revision: int | None


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """What a list says of a stored decision. `changes`: a sentence for each site that was left or taken."""

    id: DecisionId
    epoch: int
    made_wall_s: float
    services: int
    usd_per_hour: float
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision with all that it was made of; both are canonical JSON, and the id is the digest of the two.

    `inputs_json` is a DecisionInputs (orchestrator/model/inputs.py).
    """

    record: DecisionRecord
    inputs_json: str
    decision_json: str

    @property
    def id(self) -> DecisionId:
        return self.record.id


@dataclass(frozen=True, slots=True)
class Retention:
    """How many decisions are kept, and for how long; whichever ends first. The one in force always is."""

    decisions: int
    days: float

    def __str__(self) -> str:
        return f"the newest {self.decisions} decisions of the last {self.days:g} days"


@dataclass(frozen=True, slots=True)
class Lease:
    """Leadership under a fencing epoch; every commit carries it."""

    name: str
    holder: str
    epoch: int
    expires_wall_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction, or not at all.

    `epoch` None is for operators' writes; the loops carry their leader epoch and are refused once it is stale. New and
    changed claims are checked: per site of `capacities`, the claims that are not released must fit.
    """

    writes: tuple[Put | Delete, ...] = ()
    claims: tuple[Claim, ...] = ()  # put by id
    capacities: Mapping[SiteName, Resources] = field(default_factory=dict)
    decision: StoredDecision | None = None
    epoch: int | None = None
