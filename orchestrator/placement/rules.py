"""The limits that a site or a path must keep. Each rule is a small value that answers `check`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from orchestrator.model.ids import NodeName, SiteName, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.snapshot import Interval, PlacementSettings, Refusal, RefusedSite, ResponseTerms
from orchestrator.model.specs import (
    AntiAffinity,
    DemandSpec,
    PolicySpec,
    ServiceSpec,
    SiteKind,
    SiteRule,
    SiteSpec,
    Variant,
    VariantSpec,
    Within,
)
from orchestrator.placement.estimates import response_ms, response_terms


@dataclass(frozen=True, slots=True)
class Objection:
    """Why not: the reason, the value and the limit it missed, and a sentence with the remedy."""

    reason: Refusal
    actual: float | None
    limit: float | None
    unit: str
    detail: str
    node: NodeName | None = None
    terms: ResponseTerms | None = None

    def at(self, site: SiteName, zone: ZoneName | None) -> RefusedSite:
        return RefusedSite(
            site, zone, self.reason, self.actual, self.limit, self.unit, self.detail, self.node, self.terms
        )


class SiteLimit(Protocol):
    def check(self, site: SiteSpec) -> Objection | None: ...


class PathLimit(Protocol):
    def check(self, path: Path, response: Interval) -> Objection | None: ...


@dataclass(frozen=True, slots=True)
class Reachable:
    """A replica starts only where somebody answers."""

    def check(self, site: SiteSpec) -> Objection | None:
        if site.reachable:
            return None
        remedy = (
            f"no node of {site.name} is attached: start skerry-edge there, or look at its link"
            if site.kind is SiteKind.EDGE
            else f"the Ray of region {site.name} does not answer: look at its cluster"
        )
        return Objection(Refusal.UNREACHABLE, None, None, "", remedy)


@dataclass(frozen=True, slots=True)
class Required:
    """What the policy's `required` expressions said of each site."""

    rules: Mapping[SiteName, SiteRule]

    def check(self, site: SiteSpec) -> Objection | None:
        rule = self.rules.get(site.name)
        if rule is None or rule.failed_requirement is None:
            return None
        remedy = f"{rule.failed_requirement} is false of {site.name}: change the site's facts or the policy's required"
        return Objection(Refusal.REQUIREMENT, None, None, "", remedy)


@dataclass(frozen=True, slots=True)
class Resident:
    """A hard rule for the site itself."""

    jurisdictions: frozenset[str]

    def check(self, site: SiteSpec) -> Objection | None:
        if site.jurisdiction in self.jurisdictions:
            return None
        allowed = ", ".join(sorted(self.jurisdictions))
        remedy = f"{site.name} is in {site.jurisdiction}, the policy allows {allowed}: add it there if the law does"
        return Objection(Refusal.RESIDENCY, None, None, "", remedy)


@dataclass(frozen=True, slots=True)
class NotBanned:
    """Sites that the policy names in `affinity.bans`."""

    bans: frozenset[SiteName]

    def check(self, site: SiteSpec) -> Objection | None:
        if site.name not in self.bans:
            return None
        remedy = f"the policy bans {site.name}: take it out of affinity.bans"
        return Objection(Refusal.BANNED, None, None, "", remedy)


@dataclass(frozen=True, slots=True)
class EdgeOnly:
    """For a policy that does not burst to the cloud."""

    def check(self, site: SiteSpec) -> Objection | None:
        if site.kind is SiteKind.EDGE:
            return None
        remedy = f"{site.name} is a region and the policy keeps out of regions: set cost.burst_to_cloud to true"
        return Objection(Refusal.BURST_TO_CLOUD, None, None, "", remedy)


@dataclass(frozen=True, slots=True)
class KeptApart:
    """From the services that hold these sites."""

    occupied: Mapping[SiteName, AntiAffinity]

    def check(self, site: SiteSpec) -> Objection | None:
        rule = self.occupied.get(site.name)
        if rule is None:
            return None
        where = site.name if rule.within is Within.SITE else f"failure domain {site.failure_domain}"
        remedy = (
            f"service {rule.service} holds {where} and goes first: change affinity.anti_affinity, give this one a "
            "higher priority, or offer another site"
        )
        return Objection(Refusal.ANTI_AFFINITY, None, None, "", remedy)


@dataclass(frozen=True, slots=True)
class ResidentTransit:
    """The same rule for the region whose front the calls pass; one without a Site object has no jurisdiction."""

    jurisdictions: frozenset[str]
    sites: Mapping[SiteName, SiteSpec]

    def check(self, path: Path, response: Interval) -> Objection | None:
        if path.transit is None:
            return None
        region = self.sites.get(path.transit)
        if region is not None and region.jurisdiction in self.jurisdictions:
            return None
        where = f"which is in {region.jurisdiction}" if region else "which has no Site object to say where it is"
        remedy = f"calls of zone {path.zone} pass region {path.transit}, {where}: the policy's residency binds it too"
        return Objection(Refusal.RESIDENCY, None, None, "", remedy)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A hard objective is not judged by an old sample."""

    max_sample_age_s: float

    def check(self, path: Path, response: Interval) -> Objection | None:
        if path.age_s <= self.max_sample_age_s:
            return None
        remedy = f"the newest sample towards {path.site} is {path.age_s:.1f} s old: look at its link and its probe"
        return Objection(Refusal.STALE_LEG, path.age_s, self.max_sample_age_s, "s", remedy)


@dataclass(frozen=True, slots=True)
class SoonestAnswer:
    """The latency objective. Cost, ms: the p99 that a caller is expected to see; `costs.py` prices it."""

    max_response_ms: float | None

    def check(self, path: Path, response: Interval) -> Objection | None:
        cost_ms = self.cost_ms(response)
        if self.max_response_ms is None or cost_ms <= self.max_response_ms:
            return None
        remedy = (
            f"SLO {self.max_response_ms:g} ms, {path.site} {cost_ms:.1f} ms, of which round trip "
            f"{path.rtt_p99_ms:.1f} ms: raise latency.p99_ms, or shorten the path"
        )
        return Objection(Refusal.TOO_SLOW, cost_ms, self.max_response_ms, "ms", remedy)

    def cost_ms(self, response: Interval) -> float:
        return response.expected


@dataclass(frozen=True, slots=True)
class Limits:
    """All rules of one service that do not depend on what else it places."""

    of_site: tuple[SiteLimit, ...]
    of_path: tuple[PathLimit, ...]
    soonest: SoonestAnswer
    settings: PlacementSettings

    def check_site(self, site: SiteSpec) -> Objection | None:
        for limit in self.of_site:
            if found := limit.check(site):
                return found
        return None

    def check_path(self, path: Path, demand: DemandSpec, variant: VariantSpec) -> Interval | Objection:
        """The predicted response, or the first objection."""
        response = response_ms(path, demand, variant, self.settings)
        for limit in self.of_path:
            if (found := limit.check(path, response)) is not None:
                slow = found.reason is Refusal.TOO_SLOW
                return replace(found, terms=response_terms(path, demand, variant, self.settings)) if slow else found
        return response

    def hard(self) -> "Limits":
        """Without the latency objective: of a site where a frozen service runs, and stays though it became slow."""
        return replace(self, of_path=tuple(one for one in self.of_path if isinstance(one, ResidentTransit)))


def limits_of(
    service: ServiceSpec,
    sites: Mapping[SiteName, SiteSpec],
    occupied: Mapping[SiteName, AntiAffinity],
    settings: PlacementSettings,
) -> Limits:
    """`occupied`: sites that hold what the service is kept apart from."""
    policy = service.policy
    of_site: list[SiteLimit] = []
    of_path: list[PathLimit] = []
    if policy.jurisdictions is not None:
        of_site.append(Resident(policy.jurisdictions))
        of_path.append(ResidentTransit(policy.jurisdictions, sites))
    if policy.bans:
        of_site.append(NotBanned(policy.bans))
    if not policy.burst_to_cloud:
        of_site.append(EdgeOnly())
    of_site.append(Required({rule.site: rule for rule in service.rules}))
    if occupied:
        of_site.append(KeptApart(occupied))
    soonest = SoonestAnswer(policy.latency_p99_ms)
    if policy.latency_p99_ms is not None:
        of_path += [Fresh(policy.max_sample_age_s), soonest]
    return Limits(tuple(of_site), tuple(of_path), soonest, settings)


# Full precision first where nobody said what accuracy suffices; SavedModel last, as it serves slowest.
_PRECISION = (Variant.LITERT_FP32, Variant.LITERT_FP16, Variant.LITERT_INT8, Variant.SAVEDMODEL)


def variants_for(
    variants: Sequence[VariantSpec], policy: PolicySpec, kind: SiteKind
) -> tuple[VariantSpec, ...] | Objection:
    """What this kind of site may run, best first: with an accuracy given the least memory, else the most precise.

    An edge node runs LiteRT only. A variant that nobody measured does not meet an accuracy.
    """
    runs = [v for v in variants if kind is SiteKind.REGION or v.variant is not Variant.SAVEDMODEL]
    if not runs:
        has = ", ".join(sorted(v.variant for v in variants)) or "none that the service allows"
        remedy = f"{kind} sites run litert-* only, the version has {has}: build such a variant"
        if kind is SiteKind.REGION:
            remedy = "the version has no variant that the service allows: change the service's variant"
        return Objection(Refusal.NO_VARIANT, None, None, "", remedy)
    if policy.accuracy_min is None:
        return tuple(sorted(runs, key=lambda v: _PRECISION.index(v.variant)))
    wanted = policy.accuracy_min
    fit = [v for v in runs if v.accuracy is not None and v.accuracy >= wanted]
    if not fit:
        best = max((v.accuracy for v in runs if v.accuracy is not None), default=None)
        if best is None:
            remedy = (
                f"nobody measured the version, the policy wants {wanted:g}: push it with --accuracy, or drop the limit"
            )
        else:
            remedy = (
                f"the best variant reaches {best:.4f}, the policy wants {wanted:g}: train on, or lower accuracy.min"
            )
        return Objection(Refusal.ACCURACY, best, wanted, "accuracy", remedy)
    return tuple(sorted(fit, key=lambda v: (v.need.memory_bytes, v.service_p50_ms, _PRECISION.index(v.variant))))
