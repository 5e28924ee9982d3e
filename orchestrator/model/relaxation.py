"""What one change would serve a demand that nobody serves, and at which price."""

from dataclasses import dataclass

from orchestrator.model.ids import SiteName, ZoneName


@dataclass(frozen=True, slots=True)
class Relaxation:
    """One limit changed just so much as it takes; verified by a plan that is made under it.

    A rule that is dropped or added has texts for `before` and `after`. The costs are differences of all services' sums.
    """

    field: str  # latency.p99_ms, memory_mib
    object: str  # PlacementPolicy default/line, Node edge-17-1, TenantQuota plant-7/plant
    before: float | str
    after: float | str
    unit: str
    serves: float  # of the zone's calls, beyond what is served now
    left: float  # of the zone's calls: still not served then
    sites: tuple[SiteName, ...]  # that take them
    usd_per_hour: float  # without the calls that nobody serves
    billed_usd_per_hour: float  # of these: replicas and egress
    unserved_usd_per_hour: float  # of those calls, at today's price of one: below 0
    legal: bool  # whether the law has to allow it
    sentence: str


@dataclass(frozen=True, slots=True)
class Binding:
    """The limit that a demand feels most: what one unit more of it would save, and how much of it the demand needs."""

    constraint: tuple[str, ...]  # as a ShadowPrice names it
    usd_per_hour: float  # of one unit more
    unit: str
    need: float  # of all of the zone's calls, in `unit`
    felt_usd_per_hour: float  # price x need


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would help one zone of a service. `relaxation` None: no single change that was tried serves more of it."""

    zone: ZoneName
    share: float  # not served now
    relaxation: Relaxation | None
    trials: int  # plans that could be made for it; 0: none was looked for
    binding: Binding | None = None
