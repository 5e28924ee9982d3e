"""Form of a PlacementPolicy: the limits that a placement keeps, and what it prefers within them.

Every field, with what it does: docs/policies.md.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestrator.model.specs import Isolation, OnReturn, Within
from orchestrator.objects.expressions import Expression
from orchestrator.objects.fields import (
    Document,
    Fraction,
    Jurisdiction,
    Name,
    NamespacedMetadata,
    NotNegative,
    Positive,
    Strict,
    distinct,
    refuse,
)
from orchestrator.objects.freezing import FreezeWindow, whole_week

Count = Annotated[int, Field(ge=1, le=10_000)]


class Latency(Strict):
    p99_ms: Positive | None = Field(default=None, description="a hard limit of one answer, as its caller sees it")
    usd_per_hour_waited: NotNegative = Field(
        default=10.0, description="what an hour of callers' waiting counts when sites are compared"
    )


class Bandwidth(Strict):
    wan_mbps_per_zone: Positive | None = Field(
        default=None, description="of calls that leave a zone by relay or directly, both ways summed"
    )
    rollout_mbps_per_site: Positive | None = Field(
        default=None, description="of artifacts on their way to one site, averaged over rollout.window_s"
    )


class Preference(Strict):
    weight: Annotated[float, Field(gt=0, le=1_000_000)]
    expression: Expression


class Residency(Strict):
    jurisdictions: tuple[Jurisdiction, ...] = Field(min_length=1, max_length=256)


class Accuracy(Strict):
    min: Fraction


class Replicas(Strict):
    min: Count = 1
    max: Count = 100
    min_failure_domains: Count = 1
    max_share_per_domain: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="of the service's calls, the most that the sites of one failure domain are given"
    )
    survive_site_losses: Annotated[int, Field(ge=0, le=1)] = Field(
        default=0, description="1: with any one site gone the others still carry all calls"
    )
    single_writer: bool = Field(
        default=False,
        description="never two that serve at a time: the next starts when the last has certainly stopped",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.single_writer and (self.min, self.max) != (1, 1):
            remedy = "a single writer is one replica: give replicas.max 1 and replicas.min 1"
            raise refuse(remedy, "max" if self.min == 1 else "min", self.max if self.min == 1 else self.min)
        if self.max < self.min:
            raise refuse(f"give at least replicas.min, {self.min}", "max", self.max)
        if self.max < self.min_failure_domains:
            remedy = f"at most replicas.max, {self.max}, can lie in different ones"
            raise refuse(remedy, "min_failure_domains", self.min_failure_domains)
        if self.max == 1 and self.survive_site_losses:
            remedy = "one replica does not survive its site: raise replicas.max to 2 or more, or give 0"
            raise refuse(remedy, "survive_site_losses", self.survive_site_losses)
        domains = math.ceil(1 / self.max_share_per_domain - 1e-9)
        if self.max < domains:
            remedy = f"that takes {domains} domains, so replicas.max must be {domains} or more: it is {self.max}"
            raise refuse(remedy, "max_share_per_domain", self.max_share_per_domain)
        return self


class PinFields(Strict):
    site: Name
    replicas: Count = 1


class ApartFields(Strict):
    service: Name = Field(description="a ModelService of this policy's namespace; it is kept apart from this one too")
    within: Within = Within.SITE


class Affinity(Strict):
    """Which sites, and which neighbours."""

    pins: tuple[PinFields, ...] = Field(default=(), max_length=256, description="sites that hold at least so many")
    bans: tuple[Name, ...] = Field(default=(), max_length=1024, description="sites that hold none")
    anti_affinity: tuple[ApartFields, ...] = Field(
        default=(), max_length=256, description="services not on the same site or failure domain"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        distinct([pin.site for pin in self.pins], "site", "pins")
        distinct(list(self.bans), "", "bans")
        distinct([apart.service for apart in self.anti_affinity], "service", "anti_affinity")
        for index, pin in enumerate(self.pins):
            if pin.site in self.bans:
                raise refuse("it is in affinity.bans too: take it out of one", f"pins.{index}.site", pin.site)
        return self


class Cost(Strict):
    max_usd_per_hour: NotNegative | None = Field(default=None, description="of all replicas of one service")
    burst_to_cloud: bool = Field(default=True, description="false: no replicas in regions")
    usd_per_unserved_call: NotNegative = Field(
        default=1.0, description="a call is left unserved where serving it costs more than this"
    )


class Disconnect(Strict):
    """What a silent node means. Silent is not dead: it may serve its LAN on."""

    lost_after_s: NotNegative = Field(default=60.0, description="silent for so long, a node counts as lost")
    replace: bool = Field(default=True, description="start the lost node's replicas elsewhere")
    brake_share: Fraction = Field(
        default=0.5,
        description="nodes of a failure domain that fall silent together, more than this part of it, are waited for",
    )
    on_return: OnReturn = Field(
        default=OnReturn.BY_COST, description="whether replicas go back to a lost node's site once it is attached again"
    )
    valid_offline_s: Positive = Field(default=604_800.0, description="an offline node stops serving after this")


class Stability(Strict):
    """What a change must earn, and when none is made."""

    min_gain: Fraction = Field(default=0.05, description="part by which another site must be better than a running one")
    max_sample_age_s: Positive = Field(default=60.0, description="a latency limit is not judged by older samples")
    horizon_s: Positive = Field(default=3_600.0, description="a change must earn its starts and stops within this")
    usd_per_start: NotNegative = Field(default=0.0, description="of one replica: download, warm-up, risk")
    usd_per_stop: NotNegative = Field(default=0.0, description="of one replica")
    freeze: tuple[FreezeWindow, ...] = Field(
        default=(), max_length=32, description="weekly windows in which nothing that runs moves or changes"
    )

    @model_validator(mode="after")
    def _thaws(self) -> Self:
        distinct(list(self.freeze), "", "freeze")
        if whole_week(self.freeze):
            raise refuse("together they cover the whole week, so nothing could ever change: shorten one", "freeze",
                         list(self.freeze))  # fmt: skip
        return self


class Rollout(Strict):
    """How a decision is carried out, and how another version goes out."""

    max_concurrent_changes: Count | None = Field(
        default=None, description="of one service: replicas that are starting at the same time"
    )
    window_s: Positive = Field(default=60.0, description="over which bandwidth.rollout_mbps_per_site is averaged")
    max_surge: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None,
        description="of one site: replicas of another version beside those wanted; 0: in place; default: what fits",
    )
    in_place: bool = Field(
        default=True, description="false: an update waits for room rather than leave a site without the replica"
    )

    wave_sites: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        default=None,
        description="that another version goes to at a time: a number, or below 1 a part of all; default: all at once",
    )
    pause_s: NotNegative = Field(default=30.0, description="for so long a wave that is ready is watched")
    max_failures: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="sites that may fail and go back; with one more every site does"
    )
    ready_within_s: Positive = Field(default=1_800.0, description="a replica that takes longer has failed")
    max_error_share: Fraction = Field(
        default=0.5, description="a site has failed if more of its LAN's calls do while its wave is watched"
    )

    @field_validator("wave_sites")
    @classmethod
    def _whole(cls, sites: float | None) -> float | None:
        if sites is not None and sites > 1 and sites != int(sites):
            raise refuse("give a whole number of sites, or a part below 1", "", sites)
        return sites

    @model_validator(mode="after")
    def _can_update(self) -> Self:
        if self.max_surge == 0 and not self.in_place:
            raise refuse(
                "no replica could ever be updated: set rollout.in_place to true, or allow a surge", "max_surge", 0
            )
        return self


class PlacementPolicyFields(Strict):
    latency: Latency = Latency()
    bandwidth: Bandwidth = Bandwidth()
    required: tuple[Expression, ...] = Field(default=(), max_length=32, description="CEL; a site needs all to be true")
    preferred: tuple[Preference, ...] = Field(default=(), max_length=32, description="CEL; ranks before cost")
    residency: Residency | None = None
    accuracy: Accuracy | None = Field(default=None, description="lets the planner choose a smaller variant")
    replicas: Replicas = Replicas()
    affinity: Affinity = Affinity()
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = Field(
        default=0, description="higher takes capacity first"
    )
    cost: Cost = Cost()
    disconnect: Disconnect = Disconnect()
    stability: Stability = Stability()
    rollout: Rollout = Rollout()
    isolation: Isolation = Field(
        default=Isolation.SHARED,
        description="process: each replica in a process of its own, which claims 64 MiB more and is held to its claim",
    )

    @field_validator("required", "preferred")
    @classmethod
    def _listed_once(cls, rules: tuple[object, ...]) -> tuple[object, ...]:
        for index, rule in enumerate(rules):
            if rule in rules[:index]:
                raise refuse("give it once", str(index), str(rule))
        return rules

    @model_validator(mode="after")
    def _pins_fit(self) -> Self:
        pinned = sum(pin.replicas for pin in self.affinity.pins)
        if pinned > self.replicas.max:
            raise refuse(f"affinity.pins hold {pinned}: give at least that", "replicas.max", self.replicas.max)
        return self


class PlacementPolicy(Document):
    """Limits that a placement keeps, and what it prefers within them."""

    kind: Literal["PlacementPolicy"]
    metadata: NamespacedMetadata
    spec: PlacementPolicyFields
