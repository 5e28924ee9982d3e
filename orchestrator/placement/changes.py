"""What is other in one snapshot than in another, as far as a placement minds."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import Digest, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import ChosenSite, ServiceDecision, Snapshot
from orchestrator.model.specs import QuotaSpec, ServiceSpec, SiteSpec
from orchestrator.placement.ledger import is_live

# Each way, of a zone's calls or their bytes; a gut figure. More is worth another look, since what was cheapest for so
# many calls may not be for as many more.
DEMAND_TOLERANCE = 0.25
# A path's round trip or an answer's p99 that is other by more than this part, and by a millisecond, is news. Less is
# what a radio link does from minute to minute.
LATENCY_TOLERANCE, LATENCY_TOLERANCE_MS = 0.2, 1.0


class Cause(StrEnum):
    """Why a service is planned anew."""

    NEW = "new"
    SPEC = "spec"  # its version, its policy, or a freeze that began or ended
    RULES = "rules"  # what its policy's expressions say of a site that it has
    DEMAND = "demand"
    CLAIMS = "claims"  # fewer of the replicas that it was to keep
    SITE = "site"  # one that it has is gone, not reachable, or its facts are others
    PATH = "path"  # one that its calls take is gone, or breaks a limit
    SLOWER = "slower"  # within its limits, but by more than the tolerance
    ROOM = "room"  # a site, node, link or quota no longer bears what it was given
    RIVAL = "rival"  # what it is kept apart from would be beside it
    LOSS = "loss"  # the others would no longer carry a lost site's calls
    OUTBID = "outbid"  # a service of a higher priority takes its place
    IN_THE_WAY = "in-the-way"  # it holds what another, planned anew, lacks
    GAIN = "gain"  # a place became free or better: for what it lacks, or for less


Kept = tuple[ServiceRef, VersionRef, Digest, SiteName]


@dataclass(frozen=True, slots=True)
class Changes:
    """`better`: sites that joined, grew, or are reached sooner; `freed`: where something else ended."""

    before: Mapping[ServiceRef, ServiceSpec]
    ran: Counter[Kept]
    runs: Counter[Kept]
    outdated: frozenset[SiteName]  # gone, not reachable any more, or with other facts
    disturbed: frozenset[SiteName]  # where what fitted may no longer fit
    better: frozenset[SiteName]
    freed: frozenset[SiteName]
    wider_quotas: frozenset[str]  # their namespaces

    def of(self, service: ServiceSpec, decided: ServiceDecision | None) -> Cause | None:
        """What is other of the service itself, before anything is looked at again."""
        then = self.before.get(service.ref)
        if then is None or decided is None:
            return Cause.NEW
        if _wanted(then) != _wanted(service):
            return Cause.SPEC
        if any(chosen.site in self.outdated for chosen in decided.chosen):
            return Cause.SITE
        here = {chosen.site for chosen in decided.chosen}
        if here & {site for site, (old, new) in _rules(then, service).items() if old != new}:
            return Cause.RULES
        if _demands_differ(then, service):
            return Cause.DEMAND
        return Cause.CLAIMS if self._fewer_claims(service, decided) else None

    def better_for(self, service: ServiceSpec) -> set[SiteName]:
        """Also where its policy's expressions refuse less or prefer more."""
        rules = _rules(self.before[service.ref], service)
        return {*self.better, *(site for site, (old, new) in rules.items() if new > old)}

    def unstarted(self, service: ServiceSpec, chosen: ChosenSite) -> int:
        """Of the replicas that it is to have there."""
        return max(chosen.replicas - self.runs[_key(service, chosen)], 0)

    def _fewer_claims(self, service: ServiceSpec, decided: ServiceDecision) -> bool:
        keys = ((_key(service, chosen), chosen.replicas) for chosen in decided.chosen)
        return any(min(self.runs[key], count) < min(self.ran[key], count) for key, count in keys)


def _key(service: ServiceSpec, chosen: ChosenSite) -> Kept:
    digests = (variant.digest for variant in service.version.variants if variant.variant is chosen.variant)
    return service.ref, service.version.ref, next(digests, Digest("")), chosen.site


def changes(before: Snapshot, now: Snapshot) -> Changes:
    old, new = ({site.name: site for site in snapshot.sites} for snapshot in (before, now))
    holds, held = _held(before.claims), _held(now.claims)
    both = old.keys() & new.keys()
    fewer = {site for site in both if not _bears(old[site], new[site])}
    joined = {name for name, site in new.items() if name not in old or not _bears(new[name], old[name])}
    other_facts = {name for name in both if _facts(old[name]) != _facts(new[name])}
    lost = {name for name in old if name not in new or (old[name].reachable and not new[name].reachable)}
    return Changes(
        before={service.ref: service for service in before.services},
        ran=_running(before.claims),
        runs=_running(now.claims),
        outdated=frozenset(other_facts | lost),
        disturbed=frozenset(fewer | other_facts | {site for site in new if held[site] - holds[site]}),
        better=frozenset(joined | other_facts | _sooner(before, now)),
        freed=frozenset(site for site in new if holds[site] - held[site]),
        wider_quotas=frozenset(_wider(before.quotas, now.quotas)),
    )


def _wanted(service: ServiceSpec) -> ServiceSpec:
    """Without what is compared by itself, in an order that carries no meaning."""
    variants = tuple(sorted(service.version.variants, key=lambda variant: variant.variant))
    return replace(service, version=replace(service.version, variants=variants), demands=(), rules=())


def _rules(then: ServiceSpec, now: ServiceSpec) -> dict[SiteName, tuple[tuple[bool, float], tuple[bool, float]]]:
    """Of sites in both: whether it is fit, and how much it is preferred."""
    old = {rule.site: (rule.failed_requirement is None, rule.preference) for rule in then.rules}
    new = {rule.site: (rule.failed_requirement is None, rule.preference) for rule in now.rules}
    return {site: (old[site], new[site]) for site in old.keys() & new.keys()}


def _demands_differ(then: ServiceSpec, now: ServiceSpec) -> bool:
    old, new = ({demand.zone: demand for demand in service.demands} for service in (then, now))
    if old.keys() != new.keys():
        return True
    return any(
        _differs(getattr(old[zone], figure), getattr(demand, figure))
        for zone, demand in new.items()
        for figure in ("rate_rps", "request_bytes", "response_bytes")
    )


def _differs(then: float, now: float) -> bool:
    return now > then * (1 + DEMAND_TOLERANCE) or then > now * (1 + DEMAND_TOLERANCE)


def _facts(site: SiteSpec) -> SiteSpec:
    """Without what is compared by itself; labels speak through policies' expressions."""
    return replace(site, capacity=Resources(), nodes=(), reachable=True, labels=())


def _bears(less: SiteSpec, more: SiteSpec) -> bool:
    """Whether `more` bears all that `less` does."""
    nodes = {node.name: node.capacity for node in more.nodes}
    return (
        (more.reachable or not less.reachable)
        and less.capacity.fits_in(more.capacity)
        and all(node.name in nodes and node.capacity.fits_in(nodes[node.name]) for node in less.nodes)
    )


def _held(claims: tuple[Claim, ...]) -> dict[SiteName, Counter[object]]:
    """What stands at each site, whoever's; a replica that is about to run holds as much as one that does."""
    found: dict[SiteName, Counter[object]] = defaultdict(Counter)
    for claim in claims:
        if claim.phase is not ClaimPhase.RELEASED:
            found[claim.site][claim.node, claim.need, claim.hold, is_live(claim)] += 1
    return found


def _running(claims: tuple[Claim, ...]) -> Counter[Kept]:
    return Counter(
        (claim.hold.service, claim.hold.version, claim.hold.digest, claim.site)
        for claim in claims
        if is_live(claim) and isinstance(claim.hold, ReplicaHold)
    )


def _sooner(before: Snapshot, now: Snapshot) -> set[SiteName]:
    old, new = _quickest_ms(before), _quickest_ms(now)
    return {site for (zone, site), ms in new.items() if clearly_slower(ms, old.get((zone, site), float("inf")))}


def _quickest_ms(snapshot: Snapshot) -> dict[tuple[ZoneName, SiteName], float]:
    found: dict[tuple[ZoneName, SiteName], float] = {}
    for path in snapshot.paths:
        key = path.zone, path.site
        found[key] = min(path.rtt_p99_ms, found.get(key, float("inf")))
    return found


def clearly_slower(then_ms: float, now_ms: float) -> bool:
    return now_ms > then_ms * (1 + LATENCY_TOLERANCE) + LATENCY_TOLERANCE_MS


def _wider(before: tuple[QuotaSpec, ...], now: tuple[QuotaSpec, ...]) -> set[str]:
    """Namespaces of which a quota grew or went."""
    new = {(quota.namespace, quota.name): quota.limit for quota in now}
    return {
        quota.namespace
        for quota in before
        if (limit := new.get((quota.namespace, quota.name))) is None or not limit.fits_in(quota.limit)
    }
