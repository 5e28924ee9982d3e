"""A placement as something to look at: what a picture needs of a decision, and no measurement behind it."""

from dataclasses import dataclass

from orchestrator.model.ids import ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.plan import Problem
from orchestrator.model.snapshot import Interval, Refusal, RefusedSite, Shortfall
from orchestrator.model.specs import SiteKind, Variant


@dataclass(frozen=True, slots=True)
class SiteView:
    name: SiteName
    kind: SiteKind
    jurisdiction: str
    failure_domain: str


@dataclass(frozen=True, slots=True)
class ZoneView:
    """Where callers enter: at one site's LAN, or at a region's fronts. Both None: no measured path leads from there."""

    name: ZoneName
    site: SiteName | None
    region: SiteName | None


@dataclass(frozen=True, slots=True)
class ReplicasView:
    """One version and variant at one site: how many stay, start and stop. A move is a stop and a start."""

    site: SiteName
    version: VersionRef
    variant: Variant
    stays: int
    starts: int
    stops: int


@dataclass(frozen=True, slots=True)
class FlowView:
    """Calls of a zone that a site answers. `relay`: the region whose front they pass; None: they pass none."""

    zone: ZoneName
    site: SiteName
    relay: SiteName | None
    rate_rps: float  # at `share`
    share_before: float
    share: float
    p99_ms: Interval | None  # None: it ends


@dataclass(frozen=True, slots=True)
class UnservedView:
    zone: ZoneName
    rate_rps: float
    share: float
    nearest: RefusedSite | None


@dataclass(frozen=True, slots=True)
class RefusedCount:
    reason: Refusal
    sites: int


@dataclass(frozen=True, slots=True)
class ServiceView:
    """`refused`: of each site the nearest miss, the nearest sites first; those beyond a limit are only counted."""

    service: ServiceRef
    limit_ms: float | None
    replicas: tuple[ReplicasView, ...]
    flows: tuple[FlowView, ...]
    unserved: tuple[UnservedView, ...]
    refused: tuple[RefusedSite, ...]
    refused_more: tuple[RefusedCount, ...]
    shortfalls: tuple[Shortfall, ...]


@dataclass(frozen=True, slots=True)
class PlacementView:
    """From what runs to what is wanted. Objective, bound and gap: of the decision; `gap` None: nothing is proven."""

    decision: str  # the one in force; empty: none was made yet
    usd_per_hour_before: float
    usd_per_hour: float
    objective_usd_per_hour: float
    lower_bound_usd_per_hour: float
    bound: str
    gap: float | None
    weighed_usd_per_hour: float  # all terms that the planner weighed
    sites: tuple[SiteView, ...]
    zones: tuple[ZoneView, ...]
    services: tuple[ServiceView, ...]
    problems: tuple[Problem, ...] = ()
