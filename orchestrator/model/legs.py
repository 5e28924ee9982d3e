"""Measured legs and the paths made of them."""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from orchestrator.model.ids import SiteName, ZoneName


@dataclass(frozen=True, slots=True)
class Leg:
    """One measured hop. Ends are named "site/NAME", "front/NAME" or "region/NAME".

    `age_s` is the age of the newest sample; `up` is source to target. Throughput: the median transfer, and what nine of
    ten reach; None: not measured. The link's p99 lies between `rtt_p99_low_ms` and `rtt_p99_high_ms` in 90 windows of
    100; these, `rtt_p95_ms` and `rtt_p05_ms` (hardly any queue) are None where an older prober does not say.
    """

    source: str
    target: str
    rtt_p50_ms: float
    rtt_p99_ms: float
    up_bps: float | None
    down_bps: float | None
    samples: int
    age_s: float
    method: str
    rtt_p95_ms: float | None = None
    rtt_p99_low_ms: float | None = None
    rtt_p99_high_ms: float | None = None
    up_p10_bps: float | None = None
    down_p10_bps: float | None = None
    rtt_p05_ms: float | None = None


class PathKind(StrEnum):
    """How a zone reaches a site."""

    LAN = "lan"  # the zone's gateway is the site's own agent
    DIRECT = "direct"  # the gateway dials the replica
    RELAY = "relay"  # over the connection that the node opened to a front


@dataclass(frozen=True)
class Path:
    """How a zone reaches a site: its legs in order. Round trips add; throughput is the narrowest leg's.

    Without slots, since its sums are kept: every service asks for them again.
    """

    zone: ZoneName
    site: SiteName
    kind: PathKind
    legs: tuple[Leg, ...]
    transit: SiteName | None = None  # the region whose front the calls pass; residency binds it too

    @cached_property
    def rtt_p50_ms(self) -> float:
        return sum(leg.rtt_p50_ms for leg in self.legs)

    @cached_property
    def rtt_p95_ms(self) -> float:
        """As the p99; a leg whose p95 nobody stated counts with its p99."""
        return sum(leg.rtt_p99_ms if leg.rtt_p95_ms is None else leg.rtt_p95_ms for leg in self.legs)

    @cached_property
    def rtt_p99_low_ms(self) -> float:
        """One leg is as slow as its p99 is at least, the others are as usual: the p99 of all is hardly less."""
        excesses = [leg.rtt_p99_low_ms - leg.rtt_p50_ms for leg in self.legs if leg.rtt_p99_low_ms is not None]
        return self.rtt_p50_ms + max((0.0, *excesses))

    @cached_property
    def rtt_p99_high_ms(self) -> float:
        """All legs are slow at once, each as its p99 is at most. Of two legs it holds in 80 windows of 100 or more."""
        return sum(leg.rtt_p99_ms if leg.rtt_p99_high_ms is None else leg.rtt_p99_high_ms for leg in self.legs)

    @cached_property
    def rtt_p99_ms(self) -> float:
        """Sum of the legs' p99: an upper estimate, exact only if all legs are slow at once."""
        return sum(leg.rtt_p99_ms for leg in self.legs)

    @cached_property
    def age_s(self) -> float:
        """Age of the leg that was measured longest ago."""
        return max((leg.age_s for leg in self.legs), default=0.0)

    @cached_property
    def slow(self) -> "Path":
        """With each leg only as wide as nine of ten transfers found it, where that is known."""
        if not any(leg.up_p10_bps or leg.down_p10_bps for leg in self.legs):
            return self
        legs = (
            replace(leg, up_bps=leg.up_p10_bps or leg.up_bps, down_bps=leg.down_p10_bps or leg.down_bps)
            for leg in self.legs
        )
        return replace(self, legs=tuple(legs))

    @cached_property
    def legs_bps(self) -> tuple[tuple[float | None, float | None], ...]:
        """Throughput of each leg as requests travel, and as responses do; None or 0: not measured."""
        # An agent measures outwards, but relayed requests come towards it.
        outwards = f"site/{self.site}" if self.kind is PathKind.RELAY else None
        return tuple(
            (leg.down_bps, leg.up_bps) if leg.source == outwards else (leg.up_bps, leg.down_bps) for leg in self.legs
        )

    @cached_property
    def narrowest_bps(self) -> tuple[float | None, float | None]:
        """Of the legs that were measured, as requests travel and as responses do."""
        request, response = ([leg[way] for leg in self.legs_bps] for way in (0, 1))
        return min(filter(None, request), default=None), min(filter(None, response), default=None)

    @cached_property
    def fronts(self) -> tuple[str, ...]:
        """Ends of its legs that are fronts, by name."""
        ends = {end for leg in self.legs for end in (leg.source, leg.target)}
        return tuple(sorted(end for end in ends if end.startswith("front/")))
