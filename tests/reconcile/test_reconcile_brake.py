"""Who is waited for when many fall silent, and who is not."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.ids import NodeName
from orchestrator.reconcile.brake import LEAST_NODES, TOGETHER_S, Heard, Outage, braked, outages


def hall(*silent_s: float, domain: str = "hall") -> list[Heard]:
    return [Heard(NodeName(f"{domain}-{number}"), domain, each) for number, each in enumerate(silent_s)]


def waited_for(heard: list[Heard], share: float = 0.5) -> set[str]:
    return set(braked(outages(heard), share))


def test_most_of_a_domain_that_falls_silent_together_is_waited_for() -> None:
    assert waited_for(hall(300, 290, 310, 0)) == {"hall-0", "hall-1", "hall-2"}


def test_half_of_it_is_not() -> None:
    assert waited_for(hall(300, 290, 0, 0)) == set()


def test_one_node_is_no_mass_however_small_its_domain() -> None:
    assert waited_for(hall(300)) == set()
    assert waited_for(hall(300, 0)) == set()
    assert waited_for(hall(300, 300)) == set(), "two could be one machine's power supply"


def test_another_domains_outage_is_another() -> None:
    heard = hall(300, 0, 0) + hall(300, 300, 300, domain="yard")
    assert waited_for(heard) == {"yard-0", "yard-1", "yard-2"}


def test_nodes_that_died_one_by_one_are_replaced() -> None:
    assert waited_for(hall(90_000, 50_000, 300, 0)) == set()


def test_who_was_gone_before_does_not_count() -> None:
    heard = hall(90_000, 300, 300, 300, 0)
    assert waited_for(heard) == {"hall-1", "hall-2", "hall-3"}
    assert outages(heard)[NodeName("hall-1")].nodes == 4


def test_those_that_return_release_the_rest() -> None:
    assert waited_for(hall(300, 300, 300, 0)) == {"hall-0", "hall-1", "hall-2"}
    assert waited_for(hall(300, 0, 0, 0)) == set()


def test_an_operator_releases_the_brake_by_the_share() -> None:
    assert waited_for(hall(300, 300, 300), share=1.0) == set()


silences = st.lists(st.just(0.0) | st.floats(1, 1_000), max_size=8)


@given(silent_s=silences, share=st.floats(0, 1))
def test_who_is_waited_for_is_silent_and_one_of_many(silent_s: list[float], share: float) -> None:
    heard = hall(*silent_s)
    for node, outage in braked(outages(heard), share).items():
        (one,) = (each for each in heard if each.node == node)
        assert one.silent_s > 0
        near = [each for each in heard if each.silent_s > 0 and abs(each.silent_s - one.silent_s) <= TOGETHER_S]
        assert outage.silent == len(near)
        assert outage.nodes >= max(LEAST_NODES, len(near))


@given(silent_s=silences, share=st.floats(0, 1))
def test_the_order_of_reports_does_not_matter(silent_s: list[float], share: float) -> None:
    assert braked(outages(hall(*silent_s)), share) == braked(outages(hall(*silent_s)[::-1]), share)


def test_the_last_of_an_outage_are_waited_for_though_most_are_back() -> None:
    back = [Heard(NodeName(f"b{number}"), "d", 0.0, away_s=300.0 + number) for number in range(90)]
    late = [Heard(NodeName(f"l{number}"), "d", 310.0) for number in range(10)]
    found = outages([*back, *late])
    assert set(found) == {one.node for one in late}
    assert {outage.silent for outage in found.values()} == {100}
    assert set(braked(found, 0.3)) == set(found)
    alone = outages([*(replace(one, away_s=0.0) for one in back), *late])
    assert braked(alone, 0.3) == {}, "long after the others came back they are alone"


@given(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from([0.0, 1.0, 60.0, 119.0, 121.0, 400.0])), max_size=30))
def test_outages_are_counted_as_they_are_defined(drawn: list[tuple[str, float]]) -> None:
    heard = [Heard(NodeName(f"n{number}"), domain, silent_s) for number, (domain, silent_s) in enumerate(drawn)]
    found = outages(heard)
    for one in heard:
        nodes = [each for each in heard if each.domain == one.domain]
        there = [each for each in nodes if each.silent_s <= one.silent_s + TOGETHER_S]
        together = [each for each in there if each.silent_s >= one.silent_s - TOGETHER_S and each.silent_s > 0]
        expected = Outage(one.domain, len(together), len(there)) if one.silent_s else None
        assert found.get(one.node) == expected
