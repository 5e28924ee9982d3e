"""A node that returns after its replicas were replaced."""

from dataclasses import replace

import pytest

from orchestrator.model.claims import Claim
from orchestrator.model.ids import NodeName, ServiceRef, SiteName
from orchestrator.model.phases import ClaimPhase, NodePhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import OnReturn, SiteRule
from orchestrator.placement import place
from orchestrator.reconcile.observed import Observed, SeenNode
from orchestrator.reconcile.returning import leaning, lost_sites
from tests.placement.worlds import POLICY, SETTINGS, by_service, claim, edge, relay_leg, service, snapshot

DIGITS = ServiceRef("default", "digits")
A, B = SiteName("edge-a"), SiteName("edge-b")


@pytest.mark.parametrize(
    ("on_return", "rtt_ms", "goes"),
    [
        (OnReturn.BY_COST, (10, 11), B),  # a little nearer is not worth a move
        (OnReturn.BY_COST, (10, 30), A),
        (OnReturn.KEEP_REPLACEMENT, (10, 30), B),
        (OnReturn.PREFER_ORIGINAL, (10, 11), A),
        (OnReturn.PREFER_ORIGINAL, (12, 10), A),
    ],
)
def test_its_replicas_go_back_or_stay_as_the_policy_says(
    on_return: OnReturn, rtt_ms: tuple[float, float], goes: SiteName
) -> None:
    policy = replace(POLICY, on_return=on_return, min_gain=0.5)
    wanted = replace(service(policy, name="digits"), rules=(SiteRule(A, None, 0.0), SiteRule(B, None, 0.0)))
    legs = [relay_leg("edge-a", rtt_ms[0]), relay_leg("edge-b", rtt_ms[1])]
    world = snapshot([edge("edge-a"), edge("edge-b")], legs, [leaning(wanted, {A})], [claim("edge-b", wanted)])
    decided = by_service(place(world, SETTINGS, 0))["digits"]
    assert [one.site for one in decided.chosen] == [goes]


def test_a_kept_replacement_still_goes_where_only_the_original_is_left() -> None:
    policy = replace(POLICY, on_return=OnReturn.KEEP_REPLACEMENT)
    wanted = replace(service(policy, name="digits"), rules=(SiteRule(A, None, 0.0),))
    world = snapshot([edge("edge-a")], [relay_leg("edge-a", 10)], [leaning(wanted, {A})])
    assert [one.site for one in by_service(place(world, SETTINGS, 0))["digits"].chosen] == [A]


def seen(silent_s: float) -> Observed:
    phase = NodePhase.UNKNOWN if silent_s else NodePhase.ATTACHED
    node = SeenNode(NodeName("edge-a-0"), A, phase, silent_s, Resources(), "", 1, {})
    return Observed({node.node: node}, {})


def test_a_loss_is_remembered_until_the_site_holds_one_again() -> None:
    wanted = service(name="digits")
    held, other = claim("edge-a", wanted), claim("edge-b", wanted)
    gone: Claim = replace(held, phase=ClaimPhase.RELEASED)
    lost = lost_sites({}, [held], [gone, other], seen(100.0))
    assert lost == {DIGITS: {A}}
    assert lost_sites({}, [held], [gone], seen(0.0)) == {}  # it was asked to stop
    assert lost_sites(lost, [other], [], seen(0.0)) == lost
    back = replace(held, phase=ClaimPhase.RESERVED)
    assert lost_sites(lost, [other], [back], seen(0.0)) == {}
