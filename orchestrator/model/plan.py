"""What would change: the difference that a decision makes to what runs."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model.ids import Digest, NodeName, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.snapshot import Interval, RefusedSite
from orchestrator.model.specs import Variant


class Act(StrEnum):
    START = "start"
    STOP = "stop"
    MOVE = "move"
    UPDATE = "update"  # another version or variant at the same site


@dataclass(frozen=True, slots=True)
class Running:
    """What a replica is, and where."""

    site: SiteName
    version: VersionRef
    variant: Variant


@dataclass(frozen=True, slots=True)
class Step:
    """So many replicas of a service that start, stop, move or change. None: they do not run before, or after."""

    act: Act
    service: ServiceRef
    replicas: int
    before: Running | None
    after: Running | None
    # Of an update: about so long the site is without the replica, and while its model loads. 0: the new one starts
    # beside the old one. None: not known, or no update.
    gap_s: float | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """An artifact that a node fetches over its link: at most so much, since its disk may still hold some of it."""

    leg: str  # "site/S -> front/F"
    site: SiteName
    node: NodeName
    digest: Digest
    size_bytes: int


class Attainment(StrEnum):
    """Whether a prediction keeps its limit."""

    KEPT = "kept"  # with the whole interval
    LIKELY = "likely"  # as expected, but not with the whole interval
    MISSED = "missed"
    NO_LIMIT = "no-limit"


@dataclass(frozen=True, slots=True)
class Answer:
    """What callers of a zone get from a site: their share and the p99 to expect, before and after. None: nothing."""

    service: ServiceRef
    zone: ZoneName
    site: SiteName
    share_before: float
    share: float
    p99_ms_before: Interval | None
    p99_ms: Interval | None
    limit_ms: float | None
    attainment: Attainment  # of `p99_ms`


@dataclass(frozen=True, slots=True)
class NotServed:
    """Calls of a zone that no site takes, more than before, and what stands against each site."""

    service: ServiceRef
    zone: ZoneName
    share_before: float
    share: float
    refused: tuple[RefusedSite, ...]


@dataclass(frozen=True, slots=True)
class ServiceCost:
    service: ServiceRef
    usd_per_hour_before: float
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """An object of the applied file. `action`: created, configured or unchanged."""

    kind: str
    namespace: str
    name: str
    action: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A service that could not be judged, and why; what runs of it goes on."""

    service: ServiceRef
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`decision` is the one compared with; empty: none was made yet. `causes` says why sites are left and taken.

    Objective, bound and gap are of what would be decided, see `Decision`; `gap` None: nothing is proven.
    """

    decision: str
    changed: bool
    steps: tuple[Step, ...]
    answers: tuple[Answer, ...]
    not_served: tuple[NotServed, ...]
    costs: tuple[ServiceCost, ...]
    usd_per_hour_before: float
    usd_per_hour: float
    causes: tuple[str, ...]
    objects: tuple[ObjectChange, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    problems: tuple[Problem, ...] = ()
    objective_usd_per_hour: float = 0.0
    lower_bound_usd_per_hour: float = 0.0
    bound: str = ""
    gap: float | None = None
