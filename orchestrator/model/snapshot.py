"""What the planner looks at, and what it answers."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model.claims import Claim
from orchestrator.model.ids import ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.specs import ServiceSpec, SiteSpec, Variant


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a decision depends on, taken at one moment. The order of the tuples carries no meaning."""

    sites: tuple[SiteSpec, ...]
    services: tuple[ServiceSpec, ...]
    paths: tuple[Path, ...]
    claims: tuple[Claim, ...]  # all that are not released


@dataclass(frozen=True, slots=True)
class PlacementSettings:
    """Of the planner itself, not of a policy."""

    target_utilisation: float = 0.6  # of a replica; leaves room for bursts
    transfer_share: float = 0.25  # of a link that one transfer may count on


class Refusal(StrEnum):
    """Why a site was not taken. Every refused site carries one."""

    UNREACHABLE = "unreachable"  # no node attached, or the region's Ray does not answer
    NO_PATH = "no-path"  # no measured path from the zone
    REQUIREMENT = "requirement"  # a `required` expression is false
    RESIDENCY = "residency"
    ACCURACY = "accuracy"  # no variant is accurate enough
    NO_VARIANT = "no-variant"  # none that this kind of site runs
    MEMORY = "memory"
    COMPUTE = "compute"
    BANDWIDTH = "bandwidth"
    STALE_LEG = "stale-leg"
    TOO_SLOW = "too-slow"
    COST = "cost"
    REPLICAS_MAX = "replicas-max"  # fit, but enough others were better
    FAILURE_DOMAIN = "failure-domain"
    OUTRANKED = "outranked"  # fit, another was better; `actual` and `limit` are the costs in ms


@dataclass(frozen=True, slots=True)
class Interval:
    """A prediction with its range: `low` to `high` covers the estimate's own uncertainty."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, slots=True)
class RefusedSite:
    """One site that was not taken, for one zone or (None) for all: the reason, the value and the limit it missed."""

    site: SiteName
    zone: ZoneName | None
    reason: Refusal
    actual: float | None
    limit: float | None
    unit: str
    detail: str  # one sentence with the remedy


@dataclass(frozen=True, slots=True)
class ChosenSite:
    """One site that was taken: why, and by how much it beat the next."""

    site: SiteName
    replicas: int
    variant: Variant
    cost_ms: float  # what sites are compared by
    preference: float
    kept_by_hysteresis: bool  # a better one existed, but not by `min_gain`
    next_best: SiteName | None
    margin_ms: float | None  # next best's cost less this one's
    reason: str  # one sentence


@dataclass(frozen=True, slots=True)
class Share:
    """Of one zone's calls, the part that goes to one site."""

    zone: ZoneName
    site: SiteName
    share: float
    response_ms: Interval  # p99
    legs: tuple[str, ...]  # "source -> target 12.3 ms, 0.4 s old"


@dataclass(frozen=True, slots=True)
class Unserved:
    """Of one zone's calls, the part that no site can take, and the site that came nearest."""

    zone: ZoneName
    share: float
    nearest: RefusedSite | None


@dataclass(frozen=True, slots=True)
class ServiceDecision:
    service: ServiceRef
    version: VersionRef
    policy: str
    chosen: tuple[ChosenSite, ...]
    shares: tuple[Share, ...]
    refused: tuple[RefusedSite, ...]
    unserved: tuple[Unserved, ...]
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A placement of every service. `lower_bound_usd_per_hour` names what no placement of this snapshot can beat."""

    services: tuple[ServiceDecision, ...]
    usd_per_hour: float
    lower_bound_usd_per_hour: float
    bound: str  # the bound's name
