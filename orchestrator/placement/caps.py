"""How many more replicas a service may have at a site, by what its other replicas leave. Each cap is a value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Refusal
from orchestrator.model.specs import PolicySpec, QuotaSpec
from orchestrator.placement.candidates import Candidate
from orchestrator.placement.rules import Objection

MANY = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """What a service holds so far in one decision."""

    policy: PolicySpec
    total: int  # replicas
    usd_per_hour: float  # 0 where the policy has no limit on it
    domains: frozenset[str]
    domains_wanted: int
    need: Resources  # of all its replicas


class Cap(Protocol):
    def more(self, held: Held, candidate: Candidate) -> int:
        """How many more replicas."""
        ...

    def against(self, held: Held, candidate: Candidate) -> Objection:
        """What stands against one more than that."""
        ...


@dataclass(frozen=True, slots=True)
class ByCount:
    """`replicas.max`."""

    def more(self, held: Held, candidate: Candidate) -> int:
        return held.policy.replicas_max - held.total

    def against(self, held: Held, candidate: Candidate) -> Objection:
        limit = held.policy.replicas_max
        one_more = float(max(limit, held.total) + 1)
        detail = (
            f"{candidate.site.name} fits at {candidate.cost_ms:.1f} ms, but the policy's {limit} replicas are "
            "placed: raise replicas.max"
        )
        return Objection(Refusal.REPLICAS_MAX, one_more, float(limit), "replicas", detail)


@dataclass(frozen=True, slots=True)
class ByDomains:
    """Keeps replicas back for the failure domains that are still wanted."""

    def more(self, held: Held, candidate: Candidate) -> int:
        return held.policy.replicas_max - held.total - _missing_domains(held, candidate)

    def against(self, held: Held, candidate: Candidate) -> Objection:
        policy, missing = held.policy, _missing_domains(held, candidate)
        detail = (
            f"failure domain {candidate.site.failure_domain} is taken and replicas.max {policy.replicas_max} leaves "
            f"the rest for {missing} more: raise replicas.max or lower replicas.min_failure_domains"
        )
        has, wants = float(len(held.domains)), float(policy.min_failure_domains)
        return Objection(Refusal.FAILURE_DOMAIN, has, wants, "failure domains", detail)


def _missing_domains(held: Held, candidate: Candidate) -> int:
    """With the candidate's own."""
    has = len(held.domains) + (candidate.site.failure_domain not in held.domains)
    return max(held.domains_wanted - has, 0)


@dataclass(frozen=True, slots=True)
class ByCost:
    """`cost.max_usd_per_hour`."""

    def more(self, held: Held, candidate: Candidate) -> int:
        limit, price = held.policy.max_usd_per_hour, candidate.replica_usd_per_hour
        if limit is None or price <= 0:
            return MANY
        return math.floor(min((limit - held.usd_per_hour) / price + 1e-9, MANY))

    def against(self, held: Held, candidate: Candidate) -> Objection:
        limit, price = held.policy.max_usd_per_hour, candidate.replica_usd_per_hour
        with_one_more = held.usd_per_hour + (max(self.more(held, candidate), 0) + 1) * price
        detail = (
            f"one more replica at {candidate.site.name} makes {with_one_more:g} USD/h, the policy allows "
            f"{limit:g}: raise cost.max_usd_per_hour"
        )
        return Objection(Refusal.COST, with_one_more, limit, "USD/h", detail)


@dataclass(frozen=True, slots=True)
class ByQuota:
    """What the namespace's TenantQuota objects leave to the service."""

    left: Sequence[tuple[QuotaSpec, Resources]]

    def more(self, held: Held, candidate: Candidate) -> int:
        return self._least(held, candidate)[0]

    def against(self, held: Held, candidate: Candidate) -> Objection:
        least, at = self._least(held, candidate)
        quota, left = self.left[at]
        asked, rest = candidate.variant.need * (least + 1), left - held.need
        if rest.memory_bytes < asked.memory_bytes:
            wants, has, unit = asked.memory_bytes / MIB, max(rest.memory_bytes, 0) / MIB, "MiB"
        else:
            wants, has, unit = asked.compute_millis / 1000, max(rest.compute_millis, 0) / 1000, "cores"
        detail = (
            f"{least + 1} more replicas need {wants:g} {unit}, TenantQuota {quota.namespace}/{quota.name} leaves "
            f"{has:g}: raise it, or lower what other services of the namespace hold"
        )
        return Objection(Refusal.QUOTA, wants, has, unit, detail)

    def _least(self, held: Held, candidate: Candidate) -> tuple[int, int]:
        """How many the narrowest quota leaves, and which that is."""
        need = candidate.variant.need
        counts = ((need.times_in(left - held.need), index) for index, (_, left) in enumerate(self.left))
        return min(counts, default=(MANY, 0))
