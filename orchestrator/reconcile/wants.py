"""What a decision wants, and what is kept although no decision wants it."""

from collections.abc import Mapping, Sequence

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.snapshot import Decision, Refusal, ServiceDecision
from orchestrator.model.specs import ServiceSpec, SiteSpec, VariantSpec
from orchestrator.reconcile.starting import Want

# Refusals that make a site worse, not forbidden: while nothing better exists, callers would rather be answered late.
BEARABLE = frozenset(
    {Refusal.TOO_SLOW, Refusal.STALE_LEG, Refusal.BANDWIDTH, Refusal.NO_PATH, Refusal.UNREACHABLE, Refusal.OUTRANKED}
)


def wants(
    decision: Decision, services: Sequence[ServiceSpec], claims: Sequence[Claim], sites: Mapping[SiteName, SiteSpec]
) -> list[Want]:
    """Replicas wanted per service and site, each with what it needs on that site's hardware.

    A service for which no site is good enough keeps what runs where the site is only slow or silent; it never keeps
    what a hard rule (residency, a requirement, accuracy) forbids. One that is decided but not in `services` cannot be
    judged now (its policy was deleted, say), and one whose spec has moved on from its decision: they keep what runs.
    """
    specs = {s.ref: s for s in services}
    wanted: list[Want] = []
    for decided in decision.services:
        spec = specs.get(decided.service)
        variants = {v.variant: v for v in spec.version.variants} if spec and spec.version.ref == decided.version else {}
        if decided.chosen and all(chosen.variant in variants for chosen in decided.chosen):
            wanted += [
                _want(decided, chosen.site, _on(sites, chosen.site, variants[chosen.variant]), chosen.replicas)
                for chosen in decided.chosen
            ]
        else:
            wanted += _kept(decided, claims, judged=spec is not None and not decided.chosen)
    return wanted


def _on(sites: Mapping[SiteName, SiteSpec], site: SiteName, variant: VariantSpec) -> VariantSpec:
    """A site that was deleted since has no hardware any more."""
    return variant.on(sites[site].hardware_class) if site in sites else variant


def _want(decided: ServiceDecision, site: SiteName, variant: VariantSpec, count: int) -> Want:
    return Want(decided.service, decided.version, variant.variant, variant.digest, variant.need, site, count)


def _kept(decided: ServiceDecision, claims: Sequence[Claim], *, judged: bool) -> list[Want]:
    reasons: dict[SiteName, set[Refusal]] = {}
    for refused in decided.refused if judged else ():
        reasons.setdefault(refused.site, set()).add(refused.reason)
    kept: dict[tuple[SiteName, str], Want] = {}
    for claim in _running(decided.service, claims):
        hold = claim.hold
        if not isinstance(hold, ReplicaHold) or not reasons.get(claim.site, set()) <= BEARABLE:
            continue
        key = (claim.site, hold.digest)
        count = kept[key].count + 1 if key in kept else 1
        # The least of two amounts: what only stays must not ask for more than there may be.
        need = min((kept[key].need, claim.need) if key in kept else (claim.need,), key=lambda need: need.memory_bytes)
        kept[key] = Want(hold.service, hold.version, hold.variant, hold.digest, need, claim.site, count)
    return list(kept.values())


def _running(service: ServiceRef, claims: Sequence[Claim]) -> list[Claim]:
    return [
        c
        for c in claims
        if isinstance(c.hold, ReplicaHold)
        and c.hold.service == service
        and c.phase in (ClaimPhase.RESERVED, ClaimPhase.BOUND)
    ]
