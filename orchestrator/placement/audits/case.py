"""What an audit looks at: a decision laid beside its snapshot, and what it found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import ServiceRef, SiteName, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.snapshot import Decision, Interval, PlacementSettings, ServiceDecision, Share, Snapshot
from orchestrator.model.specs import DemandSpec, ServiceSpec, SiteSpec, VariantSpec
from orchestrator.placement.audits.formulas import close, response

# Relative: rates, shares and their sums are floating-point numbers.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule: the policy's field or what is broken, the site, link or zone, what was found, what is allowed."""

    rule: str
    where: str
    service: ServiceRef | None  # None: of several together
    actual: float | str
    limit: float | str

    def __str__(self) -> str:
        return f"{self.rule}: {self.service or 'all services'}, {self.where}: {self.actual}, allowed {self.limit}"


@dataclass(frozen=True, slots=True)
class Held:
    """Replicas of one service at one site."""

    site: SiteSpec
    variant: VariantSpec
    count: int
    kept: int  # of them, those that run already


@dataclass(frozen=True, slots=True)
class Arc:
    """A zone's calls to a site: the share of them, and the path that the decision names."""

    demand: DemandSpec
    share: float
    path: Path
    response: Interval

    @property
    def rate_rps(self) -> float:
        return self.share * self.demand.rate_rps


@dataclass(slots=True)
class Case:
    """One service: what was asked and what was decided. `turn`: services are planned by priority, then by name."""

    spec: ServiceSpec
    decided: ServiceDecision
    turn: int
    held: dict[SiteName, Held] = field(default_factory=dict)
    arcs: list[Arc] = field(default_factory=list)

    @property
    def ref(self) -> ServiceRef:
        return self.spec.ref

    def frozen_at(self, site: SiteName) -> bool:
        """Whether a freeze keeps what runs there."""
        return self.spec.freeze is not None and site in self.held and self.held[site].kept > 0

    def part(self, demand: DemandSpec) -> float:
        """The zone's part of the service's calls; equal parts while nobody calls."""
        total = math.fsum(one.rate_rps for one in self.spec.demands)
        return demand.rate_rps / total if total > 0 else 1 / len(self.spec.demands)


@dataclass(slots=True)
class Scene:
    """The snapshot by name, each service's case, and the violations found so far."""

    snapshot: Snapshot
    settings: PlacementSettings
    sites: Mapping[SiteName, SiteSpec]
    claims: Mapping[SiteName, Sequence[Claim]]
    paths: Mapping[tuple[ZoneName, SiteName], Sequence[Path]]
    failed: Mapping[ServiceRef, Mapping[SiteName, str]]  # the first `required` expression that is false there
    cases: dict[ServiceRef, Case] = field(default_factory=dict)
    found: list[Violation] = field(default_factory=list)

    def say(
        self, rule: str, where: str, actual: float | str, limit: float | str, service: ServiceRef | None = None
    ) -> None:
        self.found.append(Violation(rule, where, service, actual, limit))

    def over(self, rule: str, where: str, actual: float, limit: float, service: ServiceRef | None = None) -> None:
        """Says it if `actual` is above `limit` by more than sums of floating-point numbers are."""
        if not actual <= limit + TOLERANCE * max(abs(limit), 1e-3):
            self.say(rule, where, actual, limit, service)


def live(claim: Claim) -> bool:
    """Of a replica that is wanted, not of one on its way out."""
    return claim.phase in (ClaimPhase.RESERVED, ClaimPhase.BOUND) and isinstance(claim.hold, ReplicaHold)


def is_of(claim: Claim, spec: ServiceSpec, variant: VariantSpec) -> bool:
    """A running replica that a wanted one of this variant would simply keep."""
    hold = claim.hold
    return (
        live(claim)
        and isinstance(hold, ReplicaHold)
        and (hold.service, hold.version, hold.digest) == (spec.ref, spec.version.ref, variant.digest)
        and claim.need == variant.need
    )


def scene_of(snapshot: Snapshot, settings: PlacementSettings, decision: Decision) -> Scene:
    """What a decision names that is not there is said, and left out of the rest of the audit."""
    claims: dict[SiteName, list[Claim]] = {}
    paths: dict[tuple[ZoneName, SiteName], list[Path]] = {}
    for claim in snapshot.claims:
        if claim.phase is not ClaimPhase.RELEASED:
            claims.setdefault(claim.site, []).append(claim)
    for path in snapshot.paths:
        paths.setdefault((path.zone, path.site), []).append(path)
    failed = {
        spec.ref: {rule.site: rule.failed_requirement for rule in spec.rules if rule.failed_requirement is not None}
        for spec in snapshot.services
    }
    scene = Scene(snapshot, settings, {site.name: site for site in snapshot.sites}, claims, paths, failed)
    decided = {one.service: one for one in decision.services}
    names = sorted(one.service for one in decision.services)
    specs = sorted(snapshot.services, key=lambda spec: (-spec.policy.priority, spec.ref))
    if names != sorted(spec.ref for spec in specs):
        wanted = ", ".join(str(spec.ref) for spec in sorted(specs, key=lambda spec: spec.ref))
        scene.say("services", "decision", ", ".join(map(str, names)), wanted)
    for turn, spec in enumerate(specs):
        if spec.ref in decided:
            scene.cases[spec.ref] = _case(scene, spec, decided[spec.ref], turn)
    return scene


def _case(scene: Scene, spec: ServiceSpec, decided: ServiceDecision, turn: int) -> Case:
    case = Case(spec, decided, turn)
    for rule, actual, limit in (
        ("version", str(decided.version), str(spec.version.ref)),
        ("policy", decided.policy, spec.policy.name),
    ):
        if actual != limit:
            scene.say(rule, "decision", actual, limit, spec.ref)
    for chosen in decided.chosen:
        site = scene.sites.get(chosen.site)
        variants = spec.version.variants_on(site.hardware_class) if site else ()
        variant = next((one for one in variants if one.variant is chosen.variant), None)
        if site is None or variant is None or chosen.site in case.held or chosen.replicas < 1:
            what = f"{chosen.replicas} replicas of {chosen.variant}"
            scene.say("chosen", chosen.site, what, "one entry with replicas of a variant, for a known site", spec.ref)
            continue
        running = sum(is_of(claim, spec, variant) for claim in scene.claims.get(site.name, ()))
        case.held[site.name] = Held(site, variant, chosen.replicas, min(running, chosen.replicas))
    _add_arcs(scene, case)
    return case


def _add_arcs(scene: Scene, case: Case) -> None:
    demands = {demand.zone: demand for demand in case.spec.demands}
    seen: set[tuple[ZoneName, SiteName]] = set()
    for share in case.decided.shares:
        where, ends = f"{share.zone} to {share.site}", (share.zone, share.site)
        if (
            share.site not in case.held
            or share.zone not in demands
            or ends in seen
            or not 0 <= share.share <= 1.0 + TOLERANCE
        ):
            scene.say(
                "share", where, share.share, "one share of 0 to 1, for a chosen site and a zone that calls", case.ref
            )
            continue
        seen.add(ends)
        arc = _arc(scene, case, share, demands[share.zone])
        if arc is None:
            said = f"{share.response_ms.expected:g} ms over {', '.join(share.legs) or 'no leg'}"
            scene.say("path", where, said, "a measured path with these legs and this estimate", case.ref)
        else:
            case.arcs.append(arc)
    for name in sorted(case.held.keys() - {site for _, site in seen}):
        scene.say("chosen", name, "no zone has a share of it", "a share, 0 where it stands by", case.ref)


def _arc(scene: Scene, case: Case, share: Share, demand: DemandSpec) -> Arc | None:
    """Over the path that the share names; where several are alike, over one that keeps residency."""
    matching: list[Arc] = []
    for path in scene.paths.get((share.zone, share.site), ()):
        legs = tuple(
            f"{leg.source} -> {leg.target} {leg.rtt_p99_ms:.1f} ms, {leg.age_s:.1f} s old" for leg in path.legs
        )
        if legs != share.legs:
            continue
        found = response(path, demand, case.held[share.site].variant, scene.settings)
        said = share.response_ms
        if close(found.expected, said.expected) and close(found.low, said.low) and close(found.high, said.high):
            matching.append(Arc(demand, share.share, path, found))
    return min(matching, key=lambda arc: not passes_residency(scene, case, arc.path), default=None)


def passes_residency(scene: Scene, case: Case, path: Path) -> bool:
    """Whether the region whose front the calls pass is in the policy's jurisdictions."""
    allowed = case.spec.policy.jurisdictions
    if allowed is None or path.transit is None:
        return True
    region = scene.sites.get(path.transit)
    return region is not None and region.jurisdiction in allowed
