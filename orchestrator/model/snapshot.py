"""What the planner looks at, and what it answers."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model.claims import Claim
from orchestrator.model.ids import NodeName, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.specs import QuotaSpec, ServiceSpec, SiteSpec, Variant


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a decision depends on, taken at one moment. The order of the tuples carries no meaning."""

    sites: tuple[SiteSpec, ...]
    services: tuple[ServiceSpec, ...]
    paths: tuple[Path, ...]
    claims: tuple[Claim, ...]  # all that are not released
    quotas: tuple[QuotaSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacementSettings:
    """Of the planner itself, not of a policy."""

    target_utilisation: float = 0.6  # of a replica; leaves room for bursts
    transfer_share: float = 0.25  # of a link that one transfer may count on
    most_pairs_exactly: int = 250  # of a service and a node: beyond these, integer programming takes seconds
    most_pairs: int = 500_000  # of a service and a site: beyond these a plan takes minutes, and far sites are left out


class Refusal(StrEnum):
    """Why a site was not taken. Every refused site carries one."""

    UNREACHABLE = "unreachable"  # no node attached, or the region's Ray does not answer
    NO_PATH = "no-path"  # no measured path from the zone
    REQUIREMENT = "requirement"  # a `required` expression is false
    RESIDENCY = "residency"
    BANNED = "banned"
    BURST_TO_CLOUD = "burst-to-cloud"  # a region, and the policy wants none
    ANTI_AFFINITY = "anti-affinity"  # a service is there that this one is kept apart from
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
    DOMAIN_SHARE = "max-share-per-domain"
    QUOTA = "quota"  # of the service's namespace
    FROZEN = "frozen"  # better, but a freeze keeps what runs
    TOO_MANY = "too-many-sites"  # of so many only the nearest are looked at
    OUTRANKED = "outranked"  # fit, another was better; `actual` and `limit` are the two compared, in ms or USD/h


@dataclass(frozen=True, slots=True)
class Interval:
    """A prediction with its range: `low` to `high` covers the estimate's own uncertainty."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, slots=True)
class ResponseTerms:
    """What an expected p99 is the sum of."""

    round_trip_ms: float
    transfer_ms: float
    service_ms: float  # waiting in the replica included

    @property
    def largest(self) -> tuple[str, float]:
        terms = (("round trip", self.round_trip_ms), ("transfer", self.transfer_ms), ("service time", self.service_ms))
        return max(terms, key=lambda term: term[1])


@dataclass(frozen=True, slots=True)
class RefusedSite:
    """One site that was not taken: the reason, the value and the limit it missed.

    `zone` None: for all zones, or for those without an entry of their own.
    """

    site: SiteName
    zone: ZoneName | None
    reason: Refusal
    actual: float | None
    limit: float | None
    unit: str
    detail: str  # one sentence with the remedy
    node: NodeName | None = None  # the one that lacked least, where an edge site's node was too small
    terms: ResponseTerms | None = None  # where it was too slow

    @property
    def missed(self) -> float | None:
        """By how much, in `unit`."""
        return None if self.actual is None or self.limit is None else abs(self.actual - self.limit)


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """All sites that were refused for one reason, for one zone."""

    reason: Refusal
    sites: int
    nearest: tuple[RefusedSite, ...]  # a few, those first that missed by the least
    missed: float | None  # of the nearest: by how much, in its unit


@dataclass(frozen=True, slots=True)
class Costs:
    """The terms of what a placement minimises, each in USD per hour. Only the first two are on a bill."""

    replicas: float = 0.0
    egress: float = 0.0  # bytes of calls that leave a site
    latency: float = 0.0  # callers' waiting, at the policy's price of it
    unserved: float = 0.0  # calls that no site takes, at the policy's price of one
    changes: float = 0.0  # starts and stops, spread over the policy's horizon

    @property
    def total(self) -> float:
        return self.replicas + self.egress + self.latency + self.unserved + self.changes

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(
            self.replicas + other.replicas,
            self.egress + other.egress,
            self.latency + other.latency,
            self.unserved + other.unserved,
            self.changes + other.changes,
        )

    def __mul__(self, factor: float) -> "Costs":
        return Costs(
            self.replicas * factor,
            self.egress * factor,
            self.latency * factor,
            self.unserved * factor,
            self.changes * factor,
        )


@dataclass(frozen=True, slots=True)
class ChosenSite:
    """One site that was taken: why, and by how much it beat the next."""

    site: SiteName
    replicas: int
    variant: Variant
    cost_ms: float  # the expected p99, which policies price by `latency.usd_per_hour_waited`
    preference: float
    kept_by_hysteresis: bool  # a better one existed, but not by `min_gain`
    next_best: SiteName | None
    margin_ms: float | None  # next best's cost less this one's
    reason: str  # one sentence
    costs: Costs = Costs()
    margin_usd_per_hour: float | None = None  # as `margin_ms`: each as if it served the whole service


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
    refused: tuple[RefusalCount, ...] = ()  # by reason; the reason that stopped most sites first


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A rule of the policy that this placement could not keep, by its field, such as replicas.survive_site_losses."""

    rule: str
    actual: float
    wanted: float
    unit: str
    detail: str  # one sentence: what stands against it, and the remedy


@dataclass(frozen=True, slots=True)
class ServiceDecision:
    service: ServiceRef
    version: VersionRef
    policy: str
    chosen: tuple[ChosenSite, ...]
    shares: tuple[Share, ...]
    refused: tuple[RefusedSite, ...]
    unserved: tuple[Unserved, ...]
    usd_per_hour: float  # of the replicas
    shortfalls: tuple[Shortfall, ...] = ()
    costs: Costs = Costs()
    kept: bool = False  # not planned anew: refusals, next bests and reasons are of the plan that it was kept from


@dataclass(frozen=True, slots=True)
class ShadowPrice:
    """What one unit more of something scarce would save, or of a demand cost, in USD per hour.

    `constraint` is such as ("demand", service, zone), ("memory", site, node), ("compute", site, node), ("wan", zone),
    ("in", site), ("out", site), ("front", name), ("leg", source, target, direction), a policy's limit by its field as
    ("replicas.max", service), or a tenant's as ("quota.memory", quota); a region's node is "".
    """

    constraint: tuple[str, ...]
    usd_per_hour: float  # per unit
    unit: str
    priority: int = 0  # of the services that feel it: each priority is planned beside what the higher ones hold


@dataclass(frozen=True, slots=True)
class Decision:
    """A placement of every service.

    `objective_usd_per_hour` is what was minimised: all terms of the cost, less what hysteresis leaves to what runs,
    plus what preferences ask for. No placement of this snapshot that keeps as many rules is below the bound.
    """

    services: tuple[ServiceDecision, ...]
    usd_per_hour: float  # of the replicas
    lower_bound_usd_per_hour: float  # of the objective
    bound: str  # the bound's name
    objective_usd_per_hour: float = 0.0
    prices: tuple[ShadowPrice, ...] = ()  # of the relaxation in which replicas may be split; those above 0

    @property
    def gap(self) -> float | None:
        """(objective - bound) / bound; None: the bound proves nothing."""
        bound = self.lower_bound_usd_per_hour
        return (self.objective_usd_per_hour - bound) / bound if bound > 0 else None
