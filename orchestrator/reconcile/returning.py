"""A node that returns after its replicas were replaced: whether they go back, stay, or go where they cost least."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import ReplicaId, ServiceRef, SiteName
from orchestrator.model.phases import ClaimPhase, NodePhase
from orchestrator.model.specs import OnReturn, ServiceSpec
from orchestrator.reconcile.observed import LIVE, Observed

BEFORE_ALL = 1e9  # beyond the sum of any weights of `preferred`
_LEANS = {OnReturn.PREFER_ORIGINAL: BEFORE_ALL, OnReturn.KEEP_REPLACEMENT: -BEFORE_ALL}


def leaning(service: ServiceSpec, lost: Collection[SiteName]) -> ServiceSpec:
    """With the sites that it lost replicas at before or behind all others, as its policy says; barred is none."""
    lean = _LEANS.get(service.policy.on_return, 0.0)
    if not lost or not lean:
        return service
    rules = tuple(replace(r, preference=r.preference + lean) if r.site in lost else r for r in service.rules)
    return replace(service, rules=rules)


def lost_sites(
    before: Mapping[ServiceRef, Collection[SiteName]],
    ledger: Iterable[Claim],
    changed: Iterable[Claim],
    observed: Observed,
) -> dict[ServiceRef, frozenset[SiteName]]:
    """Where each service lost replicas to silent nodes, until it has some there again. `ledger`: before `changed`."""
    held: dict[ReplicaId, Claim] = {claim.id: claim for claim in ledger}
    found = {service: set(sites) for service, sites in before.items()}
    after = dict(held)
    for claim in changed:
        after[claim.id] = claim
        was, node = held.get(claim.id), observed.nodes.get(claim.node) if claim.node is not None else None
        silent = node is not None and node.phase is NodePhase.UNKNOWN
        if was is None or was.phase not in LIVE or claim.phase is not ClaimPhase.RELEASED or not silent:
            continue
        if isinstance(claim.hold, ReplicaHold):
            found.setdefault(claim.hold.service, set()).add(claim.site)
    for claim in after.values():
        if isinstance(claim.hold, ReplicaHold) and claim.phase in LIVE and claim.hold.service in found:
            found[claim.hold.service].discard(claim.site)
    return {service: frozenset(sites) for service, sites in found.items() if sites}
