"""Form of a PlacementPolicy: the limits that a placement keeps, and what it prefers within them."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestrator.objects.expressions import Expression
from orchestrator.objects.fields import (
    Document,
    Fraction,
    Jurisdiction,
    NamespacedMetadata,
    NotNegative,
    Positive,
    Strict,
    refuse,
)

Count = Annotated[int, Field(ge=1, le=10_000)]


class LatencyLimit(Strict):
    p99_ms: Positive = Field(description="of one answer, as its caller sees it")


class BandwidthLimit(Strict):
    wan_mbps_per_zone: Positive = Field(description="of calls that leave a zone by relay or directly, both ways summed")


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

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise refuse(f"give at least replicas.min, {self.min}", "max", self.max)
        if self.max < self.min_failure_domains:
            raise refuse(
                f"at most replicas.max, {self.max}, can lie in different ones",
                "min_failure_domains",
                self.min_failure_domains,
            )
        return self


class Cost(Strict):
    max_usd_per_hour: NotNegative = Field(description="of all replicas of one service")


class Disconnect(Strict):
    """What a silent node means. Silent is not dead: it may serve its LAN on."""

    lost_after_s: NotNegative = Field(default=60.0, description="silent for so long, a node counts as lost")
    replace: bool = Field(default=True, description="start the lost node's replicas elsewhere")
    valid_offline_s: Positive = Field(default=604_800.0, description="an offline node stops serving after this")


class Stability(Strict):
    """How much better another site must be before a running replica moves."""

    min_gain: Fraction = 0.05
    max_sample_age_s: Positive = Field(default=60.0, description="a latency limit is not judged by older samples")


class PlacementPolicyFields(Strict):
    latency: LatencyLimit | None = None
    bandwidth: BandwidthLimit | None = None
    required: tuple[Expression, ...] = Field(default=(), max_length=32, description="CEL; a site needs all to be true")
    preferred: tuple[Preference, ...] = Field(default=(), max_length=32, description="CEL; ranks before latency")
    residency: Residency | None = None
    accuracy: Accuracy | None = Field(default=None, description="lets the planner choose a smaller variant")
    replicas: Replicas = Replicas()
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    cost: Cost | None = None
    disconnect: Disconnect = Disconnect()
    stability: Stability = Stability()

    @field_validator("required", "preferred")
    @classmethod
    def _listed_once(cls, rules: tuple[object, ...]) -> tuple[object, ...]:
        for index, rule in enumerate(rules):
            if rule in rules[:index]:
                raise refuse("give it once", str(index), str(rule))
        return rules


class PlacementPolicy(Document):
    """Limits that a placement keeps, and what it prefers within them."""

    kind: Literal["PlacementPolicy"]
    metadata: NamespacedMetadata
    spec: PlacementPolicyFields
