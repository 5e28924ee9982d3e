"""What holds of every relaxation that is found, and of every demand for which none is."""

from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from orchestrator.model.ids import ServiceRef, ZoneName
from orchestrator.model.snapshot import PlacementSettings, Snapshot
from orchestrator.placement import place
from orchestrator.placement.options.figures import before, up
from orchestrator.placement.relaxing import NOTHING, cheapest_relaxation
from tests.placement.relaxed import applied, generous, unserved
from tests.strategies import settings_of_planner, snapshots

pytestmark = pytest.mark.slow  # half a minute of plans

SOME = tried(max_examples=60, deadline=None)
Left = dict[tuple[ServiceRef, ZoneName], float]


@st.composite
def worlds(draw: st.DrawFn) -> Snapshot:
    """Services that share a policy have the same one."""
    drawn = draw(snapshots())
    policy = drawn.services[0].policy
    shared = draw(st.sampled_from([False, False, True]))
    services = tuple(
        replace(one, policy=policy if shared else replace(one.policy, name=one.ref.name)) for one in drawn.services
    )
    return replace(drawn, services=services)


def gained(world: Snapshot, settings: PlacementSettings, now: Left, mine: tuple[ServiceRef, ZoneName]) -> float:
    """Of the demand's calls; nothing where another demand loses any."""
    after = unserved(place(world, settings, 0))
    if any(share > now.get(key, 0.0) + NOTHING for key, share in after.items() if key != mine):
        return 0.0
    return now[mine] - after.get(mine, 0.0)


@SOME
@given(worlds(), settings_of_planner)
def test_who_applies_a_relaxation_serves_what_it_says(world: Snapshot, settings: PlacementSettings) -> None:
    decision = place(world, settings, 0)
    now = unserved(decision)
    for service, zone in sorted(now):
        found = cheapest_relaxation(world, settings, 0, service, zone, decision)
        event(f"found {found.field if found else None}")
        if found is None:
            for name, changed in generous(world, service):
                assert gained(changed, settings, now, (service, zone)) < now[service, zone] - NOTHING, name
            continue
        assert found.serves > NOTHING
        assert found.serves + found.left == pytest.approx(now[service, zone])
        assert gained(applied(world, service, found), settings, now, (service, zone)) == pytest.approx(found.serves)


@SOME
@given(worlds(), settings_of_planner)
def test_the_next_lower_figure_serves_less(world: Snapshot, settings: PlacementSettings) -> None:
    decision = place(world, settings, 0)
    now = unserved(decision)
    for service, zone in sorted(now):
        found = cheapest_relaxation(world, settings, 0, service, zone, decision)
        if found is None or isinstance(found.after, str) or found.field == "accuracy.min":
            continue
        assert isinstance(found.before, float | int)
        whole = found.field in ("replicas.max", "memory_mib", "quota.memory_mib")
        added = found.field.removeprefix("quota.") in ("memory_mib", "cores")
        floor = found.before if added else 0.0
        lower = floor + before(found.after - floor, whole)
        event(f"{found.field}: lower tried {lower > found.before}")
        if lower > found.before:
            less = applied(world, service, found, lower)
            assert gained(less, settings, now, (service, zone)) < found.serves - NOTHING


@given(st.floats(1e-9, 1e9), st.booleans())
def test_figures_are_such_as_people_write(value: float, whole: bool) -> None:
    figure = up(value, whole)
    assert value <= figure <= 1.1 * (value + whole)
    assert figure == float(f"{figure:.3g}")
    assert figure == int(figure) or not whole
    assert up(figure, whole) == figure
    assert before(figure, whole) < value


def test_of_figures_there_are_two_digits_and_from_100_on_three() -> None:
    assert [up(value) for value in (51.85, 52.0, 0.031234, 104.2, 1_235.0, 99.3)] == [52, 52, 0.032, 105, 1_240, 100]
    assert [before(value) for value in (52.0, 10.0, 100.0, 105.0, 0.032)] == [51, 9.9, 99, 104, 0.031]
    assert [up(0.2, whole=True), up(7.1, whole=True), before(7.0, whole=True), before(1.0, whole=True)] == [1, 8, 6, 0]
