"""Rules of a policy that a placement could not keep, and what stands against them. It is made all the same."""

from collections.abc import Iterator

from orchestrator.model.snapshot import Shortfall
from orchestrator.model.specs import Pin
from orchestrator.placement.candidates import Field
from orchestrator.placement.filling import Filling
from orchestrator.placement.survival import Survival


def shortfalls_of(seen: Field, filled: Filling, survival: Survival) -> tuple[Shortfall, ...]:
    pins = sorted(filled.service.policy.pins, key=lambda pin: pin.site)
    unmet = [pin for pin in pins if filled.replicas.get(pin.site, 0) < pin.replicas]
    return (
        *_least_replicas(filled),
        *_domains(filled),
        *survival.shortfalls(),
        *(_unpinned(pin, seen, filled) for pin in unmet),
        *_itself(filled),
    )


def _least_replicas(filled: Filling) -> Iterator[Shortfall]:
    wanted = filled.service.policy.replicas_min
    if filled.total < wanted:
        detail = f"{wanted - filled.total} of the policy's {wanted} replicas fit nowhere: offer more, or lower it"
        yield Shortfall("replicas.min", filled.total, wanted, "replicas", detail)


def _domains(filled: Filling) -> Iterator[Shortfall]:
    wanted, has = filled.service.policy.min_failure_domains, len(filled.domains)
    if has < wanted:
        detail = f"only {has} of {wanted} failure domains are within the limits: offer a site in another, or lower it"
        yield Shortfall("replicas.min_failure_domains", has, wanted, "failure domains", detail)


def _unpinned(pin: Pin, seen: Field, filled: Filling) -> Shortfall:
    against = seen.of_site.get(pin.site) or filled.stopped.get((pin.site, None))
    if against is None:
        zones = (found for (site, _), found in sorted(seen.of_zone.items()) if site == pin.site)
        against = next(zones, None)
    why = f"{against.reason}, {against.detail}" if against else "there is no Site of that name: apply it"
    has = filled.replicas.get(pin.site, 0)
    return Shortfall("affinity.pins", has, pin.replicas, "replicas", f"{pin.site} cannot hold its pin: {why}")


def _itself(filled: Filling) -> Iterator[Shortfall]:
    service = filled.service
    if any(rule.service == service.ref for rule in service.policy.anti_affinity):
        detail = (
            f"{service.ref} cannot be kept apart from itself, so that entry is left out: to spread its replicas use "
            "replicas.min_failure_domains or max_share_per_domain"
        )
        yield Shortfall("affinity.anti_affinity", 0, 0, "", detail)
