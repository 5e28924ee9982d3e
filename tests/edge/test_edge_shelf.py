"""Which artifacts stay on a node's disk."""

from hypothesis import given
from hypothesis import strategies as st

from workers.edge.assignment import Artifact
from workers.edge.shelf import SPARE_ARTIFACTS, Shelf

MIB = 1 << 20


def artifact(name: str, size_mib: int = 10) -> Artifact:
    return Artifact(name, size_mib * MIB, "tflite")


def needs(shelf: Shelf, assigned: str, running: str = "") -> None:
    shelf.need([artifact(name) for name in running], [artifact(name) for name in assigned])


def test_a_few_former_ones_stay_the_latest_used() -> None:
    shelf = Shelf(0)
    for name in "abcdef":
        needs(shelf, name)
        kept = shelf.tidied(True)
    assert kept == {"f", "e", "d", "c"}
    assert len(kept) == 1 + SPARE_ARTIFACTS
    assert shelf.tidied(True) is None


def test_what_a_former_process_left_is_spare_too() -> None:
    shelf = Shelf(0)
    shelf.found([(name, 10 * MIB) for name in "abcde"])
    needs(shelf, "b")
    assert shelf.tidied(True) == {"b", "c", "d", "e"}


def test_before_the_node_has_settled_nothing_goes_unless_room_is_lacking() -> None:
    shelf = Shelf(35 * MIB)
    shelf.found([("a", 10 * MIB), ("b", 10 * MIB)])
    needs(shelf, "c")
    assert shelf.tidied(False) is None
    needs(shelf, "cd")
    assert shelf.tidied(False) == {"b", "c", "d"}
    assert shelf.tidied(False) is None


def test_what_does_not_fit_is_not_fetched_and_says_what_would_help() -> None:
    shelf = Shelf(25 * MIB)
    needs(shelf, "bcd", running="a")
    assert [bool(shelf.lacks_room(name)) for name in "abcd"] == [False, False, True, True]
    assert shelf.lacks_room("c") == (
        "10.0 MiB are needed, 5.0 MiB are left of the 25.0 MiB for artifacts: raise --disk-mib, or assign less here"
    )
    needs(shelf, "bd")
    assert not shelf.lacks_room("d")


def test_what_runs_has_its_room_however_small_the_budget_is() -> None:
    shelf = Shelf(1)
    needs(shelf, "a", running="a")
    assert not shelf.lacks_room("a")


def test_a_full_disk_costs_all_spare_ones_at_once() -> None:
    shelf = Shelf(0)
    shelf.found([("a", 1), ("b", 1)])
    needs(shelf, "c")
    shelf.spare_nothing()
    assert shelf.tidied(False) == {"c"}
    assert shelf.tidied(False) is None


NAMES = st.text("abcdefgh", max_size=4).map(lambda text: "".join(dict.fromkeys(text)))


@given(st.lists(st.tuples(NAMES, NAMES, st.booleans(), st.booleans()), max_size=12), st.integers(0, 60))
def test_whatever_comes_the_needed_stays_and_the_budget_is_kept(
    rounds: list[tuple[str, str, bool, bool]], budget_mib: int
) -> None:
    shelf = Shelf(budget_mib * MIB)
    for assigned, running, settled, full in rounds:
        needs(shelf, assigned, running)
        if full:
            shelf.spare_nothing()
        kept = shelf.tidied(settled)
        assert shelf.tidied(settled) is None
        if kept is None:
            continue
        assert kept >= set(assigned + running)
        fetched = [name for name in kept if not shelf.lacks_room(name)]
        if budget_mib and len(fetched) > len(set(running)):
            assert len(fetched) * 10 <= budget_mib
