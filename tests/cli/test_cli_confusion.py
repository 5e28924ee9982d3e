"""A confusion matrix for a reader."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.client import Json
from orchestrator.cli.confusion import MOST_LABELS, confusion_in, confusion_text, without_confusion


def _status(confusion: Json) -> dict[str, Json]:
    return {"phase": "Succeeded", "result": {"seconds": 1.0, "evaluation": {"accuracy": 1.0, "confusion": confusion}}}


def test_what_is_no_square_of_counts_is_left_as_it_is() -> None:
    for other in (None, [], [1, 2], [[1, 2]], [[1, "x"], [1, 1]], [[0.5]], {"0": [1]}):
        assert confusion_in({"status": _status(other)}) == []
    assert confusion_in({}) == []
    assert confusion_in({"status": _status([[3]])}) == [[3]]


def test_the_matrix_alone_is_left_out() -> None:
    left = without_confusion(_status([[3]]))
    assert left == {"phase": "Succeeded", "result": {"seconds": 1.0, "evaluation": {"accuracy": 1.0}}}
    assert without_confusion({"phase": "Running"}) == {"phase": "Running"}


def test_of_many_labels_only_the_summary_is_told() -> None:
    size = MOST_LABELS + 1
    counts = [[2 if label == answer else label == 0 for answer in range(size)] for label in range(size)]
    assert confusion_text(counts) == (
        "42 of 62 right; most often taken: 0 for 1 (1), 0 for 2 (1), 0 for 3 (1), 0 for 4 (1), 0 for 5 (1)"
        " and 15 other pairs"
    )


SQUARES = st.integers(1, 30).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, 10**6), min_size=size, max_size=size), min_size=size, max_size=size)
)


@given(SQUARES)
def test_any_matrix_stays_short_and_its_sum_is_told(counts: list[list[int]]) -> None:
    assert confusion_in({"status": _status([list(row) for row in counts])}) == counts
    head, *table = confusion_text(counts).splitlines()
    assert head.split()[:3] == [str(sum(row[at] for at, row in enumerate(counts))), "of", str(sum(map(sum, counts)))]
    assert len(table) == (len(counts) + 2 if len(counts) <= MOST_LABELS else 0)
