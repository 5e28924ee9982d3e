"""What is wanted of a site: the replica as it was measured on the site's hardware."""

from dataclasses import replace

from orchestrator.model.specs import HardwareProfile
from orchestrator.placement import place
from orchestrator.reconcile.wants import wants
from tests.placement.worlds import FP32, MIB, SETTINGS, claim, edge, relay_leg, service, snapshot


def test_a_replica_claims_what_it_takes_on_the_sites_hardware() -> None:
    wanted = service(variants=[replace(FP32, profiles=(HardwareProfile("pi", 2.0, 4.0, 96 * MIB),))])
    for hardware_class, memory_mib in (("any", 64), ("pi", 96)):
        site = edge("edge-a", hardware_class=hardware_class)
        seen = snapshot([site], [relay_leg("edge-a", 5)], [wanted])
        (want,) = wants(place(seen, SETTINGS, 0), seen.services, (), {site.name: site})
        assert want.need == replace(FP32.need, memory_bytes=memory_mib * MIB)
        assert (want.digest, want.site) == (FP32.digest, "edge-a")


def test_replicas_that_are_only_kept_claim_no_more_than_they_did() -> None:
    """No site is good enough now; the hardware of one was described anew meanwhile."""
    wanted = service(variants=[replace(FP32, profiles=(HardwareProfile("pi", 2.0, 4.0, 96 * MIB),))])
    site = edge("edge-a", hardware_class="pi")
    older, newer = claim("edge-a", wanted), claim("edge-a", wanted, number=1)
    claims = (older, replace(newer, need=replace(FP32.need, memory_bytes=96 * MIB)))
    seen = snapshot([site], [relay_leg("edge-a", 500)], [wanted], claims)
    found = wants(place(seen, SETTINGS, 0), seen.services, claims, {site.name: site})
    assert [(want.need.memory_bytes // MIB, want.count) for want in found] == [(64, 2)]
