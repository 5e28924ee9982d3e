"""Which limit a demand feels most. 100 calls/s of 400 and 100 bytes: 0.32 Mbit/s, 0.08 back; a sixth of a replica."""

import pytest

from orchestrator.model.relaxation import Binding
from orchestrator.model.snapshot import ShadowPrice
from orchestrator.placement.binding import binding
from tests.placement.worlds import SETTINGS, edge, relay_leg, service, snapshot

WORLD = snapshot([edge("edge-a"), edge("edge-b")], [relay_leg("edge-a", 10)], [service()])


def bound(*prices: ShadowPrice) -> Binding | None:
    (spec,) = WORLD.services
    return binding(prices, spec, spec.demands[0], WORLD.sites, WORLD.paths, SETTINGS)


@pytest.mark.parametrize(
    ("constraint", "need"),
    [
        (("memory", "edge-a", "edge-a-0"), 64 / 6),
        (("compute", "edge-a", "edge-a-0"), 1 / 6),
        (("wan", "callers"), 0.4),
        (("in", "edge-a"), 0.32),
        (("out", "edge-a"), 0.08),
        (("front", "f1"), 0.4),
        (("leg", "site/edge-a", "front/f1", "request"), 0.32),
        (("leg", "site/edge-a", "front/f1", "response"), 0.08),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_each_limit_is_felt_by_what_the_demand_needs_of_it(constraint: tuple[str, ...], need: float) -> None:
    found = bound(ShadowPrice(constraint, 3.0, "unit"))
    assert found is not None
    assert (found.constraint, found.usd_per_hour, found.unit) == (constraint, 3.0, "unit")
    assert (found.need, found.felt_usd_per_hour) == (pytest.approx(need), pytest.approx(3 * need))


def test_the_one_that_is_felt_most_is_told_whatever_the_order() -> None:
    prices = [ShadowPrice(("wan", "callers"), 1.0, "Mbit/s"), ShadowPrice(("in", "edge-a"), 2.0, "Mbit/s")]
    assert bound(*prices) == bound(*reversed(prices))
    found = bound(*prices)
    assert found is not None
    assert found.constraint == ("in", "edge-a")


def test_limits_elsewhere_and_without_price_are_not_felt() -> None:
    demand = ShadowPrice(("demand", "default/digits", "callers"), 9.0, "call/s")
    elsewhere = ShadowPrice(("memory", "edge-b", "edge-b-0"), 9.0, "MiB")  # no path leads there
    assert bound(demand, elsewhere, ShadowPrice(("wan", "callers"), 0.0, "Mbit/s")) is None
