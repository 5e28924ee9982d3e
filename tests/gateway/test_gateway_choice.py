"""Which replica takes a call."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.gateway.choice import (
    Caller,
    Candidates,
    Cause,
    NoRoute,
    Route,
    RouteTable,
    ServiceKey,
    ServiceRoutes,
    candidates,
)
from workers.gateway.health import Health, RouteKey

DIGITS = ServiceKey("default", "digits")
CALLER = Caller(DIGITS, "zone-a")


def route(name: str, share: float = 0.0, predicted_ms: float = 1.0, node: str = "", version: str = "v1") -> Route:
    return Route(name, f"{name}-1", f"site-{name}", version, share, predicted_ms, "" if node else "127.0.0.1:1", node)


def table(*routes: Route, zone: str = "", reason: str = "") -> RouteTable:
    return RouteTable(1, {DIGITS: ServiceRoutes("v1", "decision-1", {zone: routes}, reason)})


def chosen(found: Candidates | NoRoute) -> list[str]:
    assert isinstance(found, Candidates), found
    return [route.replica for route in found.routes]


def refused(found: Candidates | NoRoute) -> NoRoute:
    assert isinstance(found, NoRoute), found
    return found


names = st.sampled_from([f"r{number}" for number in range(8)])
routes_st = st.lists(
    st.builds(
        route,
        names,
        st.sampled_from([0.0, 0.0, 0.1, 0.25, 0.5, 1.0]),
        st.floats(0, 1000),
        st.sampled_from(["", "n1", "n2"]),
    ),
    max_size=10,
)
units = st.floats(0, 1, exclude_max=True)


@given(routes_st, st.sets(names), st.sets(st.sampled_from(["n1", "n2"])), units)
def test_every_sendable_replica_is_tried_once_and_the_ejected_last(
    routes: list[Route], failed: set[str], attached: set[str], unit: float
) -> None:
    health = Health()
    for name in failed:
        health = health.failed(RouteKey(name, f"{name}-1"), 10.0)
    found = candidates(table(*routes), CALLER, health, frozenset(attached), 10.1, unit)
    sendable = {each.replica for each in routes if not each.node or each.node in attached}
    if not sendable:
        assert refused(found).cause is Cause.NONE_READY
        return
    order = chosen(found)
    assert sorted(order) == sorted(sendable)
    ejected = [name in failed for name in order]
    assert ejected == sorted(ejected), "an ejected route is tried before a good one"


@given(routes_st, units)
def test_after_the_first_shares_come_before_standbys_and_each_in_its_order(routes: list[Route], unit: float) -> None:
    unique = list({each.replica: each for each in routes}.values())
    found = candidates(table(*unique), CALLER, Health(), frozenset({"n1", "n2"}), 0.0, unit)
    if isinstance(found, NoRoute):
        assert not unique
        return
    rest = found.routes[1:]
    assert list(rest) == sorted(rest, key=lambda each: (-each.share, each.predicted_ms, each.replica))
    if any(each.share for each in found.routes):
        assert found.routes[0].share > 0


@given(routes_st, routes_st, units)
def test_the_order_of_the_table_does_not_matter(routes: list[Route], more: list[Route], unit: float) -> None:
    unique = list({each.replica: each for each in (*routes, *more)}.values())
    attached = frozenset({"n1", "n2"})
    forth = candidates(table(*unique), CALLER, Health(), attached, 0.0, unit)
    back = candidates(table(*reversed(unique)), CALLER, Health(), attached, 0.0, unit)
    assert isinstance(forth, NoRoute) == isinstance(back, NoRoute)
    if isinstance(forth, Candidates):
        assert chosen(forth) == chosen(back)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any))
def test_first_choices_follow_the_shares(weights: list[int]) -> None:
    total = sum(weights)
    routes = [route(f"r{index}", weight / total) for index, weight in enumerate(weights)]
    draws = 400
    firsts = Counter(
        chosen(candidates(table(*routes), CALLER, Health(), frozenset(), 0.0, (draw + 0.5) / draws))[0]
        for draw in range(draws)
    )
    for each in routes:
        assert firsts[each.replica] / draws == pytest.approx(each.share, abs=2 / draws)


def test_an_ejected_route_leaves_its_share_to_the_others() -> None:
    routes = [route("a", 0.5), route("b", 0.25), route("c", 0.25)]
    health = Health().failed(RouteKey("a", "a-1"), 0.0)
    firsts = Counter(
        chosen(candidates(table(*routes), CALLER, health, frozenset(), 0.1, (draw + 0.5) / 100))[0]
        for draw in range(100)
    )
    assert firsts == {"b": 50, "c": 50}


def test_a_standby_takes_calls_while_all_shares_are_ejected() -> None:
    health = Health().failed(RouteKey("a", "a-1"), 0.0)
    found = candidates(table(route("a", 1.0), route("standby")), CALLER, health, frozenset(), 0.1, 0.0)
    assert chosen(found) == ["standby", "a"]


def test_a_new_incarnation_has_a_clean_name() -> None:
    health = Health().failed(RouteKey("a", "a-0"), 0.0)
    found = candidates(table(route("a", 0.9), route("b", 0.1)), CALLER, health, frozenset(), 0.1, 0.0)
    assert chosen(found)[0] == "a"


def test_a_zone_with_an_entry_of_its_own_does_not_see_the_others() -> None:
    own, rest = route("own", 1.0), route("rest", 1.0)
    services = {DIGITS: ServiceRoutes("v1", "d", {"zone-a": (own,), "": (rest,), "zone-empty": ()})}
    whole = RouteTable(1, services)

    def of(zone: str) -> Candidates | NoRoute:
        return candidates(whole, Caller(DIGITS, zone), Health(), frozenset(), 0.0, 0.0)

    assert chosen(of("zone-a")) == ["own"]
    assert chosen(of("zone-b")) == ["rest"]
    assert refused(of("zone-empty")).cause is Cause.NONE_READY
    assert whole.zones == {"zone-a", "zone-empty"}


def test_a_version_is_chosen_among_those_served() -> None:
    pair = table(route("old", 0.9), route("new", 0.1, version="v2"))

    def of(version: str) -> Candidates | NoRoute:
        return candidates(pair, Caller(DIGITS, "z", version), Health(), frozenset(), 0.0, 0.0)

    assert chosen(of("v2")) == ["new"]
    missing = refused(of("v3"))
    assert missing.cause is Cause.UNKNOWN_VERSION
    assert "'v3'" in missing.message
    assert "v1, v2" in missing.message


def test_a_known_version_without_a_replica_is_unavailable_not_unknown() -> None:
    found = candidates(table(reason="no site fits"), Caller(DIGITS, "z", "v1"), Health(), frozenset(), 0.0, 0.0)
    assert refused(found) == NoRoute(Cause.NONE_READY, "model 'digits' has no ready replica for zone 'z': no site fits")


def test_unknown_services_name_the_known_ones() -> None:
    def of(namespace: str, service: str) -> str:
        wanted = Caller(ServiceKey(namespace, service), "z")
        found = refused(candidates(table(route("a", 1.0)), wanted, Health(), frozenset(), 0.0, 0.0))
        assert found.cause is Cause.UNKNOWN_SERVICE
        return found.message

    assert "known there: digits" in of("default", "digit")
    assert "namespace default: send that as metadata skerry-namespace" in of("plant-7", "digits")
    assert "apply a ModelService" in of("plant-7", "words")


def test_a_detached_node_is_named() -> None:
    found = candidates(table(route("a", 1.0, node="n1")), CALLER, Health(), frozenset({"n2"}), 0.0, 0.0)
    assert "not attached to this front: node n1" in refused(found).message
