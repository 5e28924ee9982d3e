"""Windows of the week, on the clocks of a place."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from orchestrator.objects.freezing import DAYS, EXAMPLE, freeze_at, whole_week, window

BERLIN = ZoneInfo("Europe/Berlin")


def berlin(day: int, hour: int, minute: int = 0, month: int = 7) -> float:
    """In 2026, where 3 July and 4 December are Fridays."""
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("wall_s", "frozen"),
    [
        (berlin(3, 15, 59), False),
        (berlin(3, 16), True),
        (berlin(5, 12), True),
        (berlin(6, 5, 59), True),
        (berlin(6, 6), False),
        (berlin(8, 12), False),
        (berlin(4, 15, 59, month=12), False),  # an hour later by UTC than in summer
        (berlin(4, 16, month=12), True),
    ],
)
def test_a_window_holds_by_the_clocks_of_its_place(wall_s: float, frozen: bool) -> None:
    assert (freeze_at([EXAMPLE], wall_s) is not None) == frozen


def test_the_first_window_that_holds_is_named() -> None:
    windows = ["Mon 00:00-Mon 01:00 UTC", "Fri 00:00-Sat 00:00 Europe/Berlin", EXAMPLE]
    assert freeze_at(windows, berlin(3, 20)) == windows[1]
    assert freeze_at(windows, berlin(5, 20)) == EXAMPLE
    assert freeze_at([], berlin(3, 20)) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Fri 16:00 - Mon 06:00 UTC", "write it as Fri 16:00-Mon 06:00"),
        ("Fri 16:00-Mon 06:00", "write it as"),
        ("Fre 16:00-Mon 06:00 UTC", "'Fre' is no day"),
        ("Fri 24:00-Mon 06:00 UTC", "24:00 is no time"),
        ("Fri 16:60-Mon 06:00 UTC", "16:60 is no time"),
        ("Fri 16:00-Fri 16:00 UTC", "whole week"),
        ("Fri 16:00-Mon 06:00 Europe/Atlantis", "'Europe/Atlantis' is no time zone"),
        ("Fri 16:00-Mon 06:00 Europe", "is no time zone"),
        ("Fri 16:00-Mon 06:00 ../../etc/passwd", "is no time zone"),
    ],
)
def test_what_is_no_window_is_refused(text: str, said: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        window(text)
    assert said in caught.value.message()


def test_windows_that_leave_no_minute_are_found_over_time_zones() -> None:
    assert not whole_week([])
    assert not whole_week([EXAMPLE])
    assert whole_week(["Mon 00:00-Fri 00:00 UTC", "Fri 00:00-Mon 00:00 UTC"])
    assert not whole_week(["Mon 00:00-Fri 00:00 UTC", "Fri 00:00-Mon 00:00 Asia/Tokyo"])
    assert whole_week(["Mon 00:00-Fri 00:00 UTC", "Fri 00:00-Mon 12:00 Asia/Tokyo", "Thu 00:00-Fri 12:00 UTC"])


moments = st.tuples(st.sampled_from(DAYS), st.integers(0, 23), st.integers(0, 59))


@settings(max_examples=200, deadline=None)
@given(moments, moments, st.integers(0, 2**31))
def test_a_window_and_its_complement_hold_at_any_moment_but_not_both(
    start: tuple[str, int, int], end: tuple[str, int, int], wall_s: int
) -> None:
    ends = ["{} {:02}:{:02}".format(*moment) for moment in (start, end)]
    if start == end:
        return
    there, back = f"{ends[0]}-{ends[1]} Europe/Berlin", f"{ends[1]}-{ends[0]} Europe/Berlin"
    assert (freeze_at([there], wall_s) is None) != (freeze_at([back], wall_s) is None)
    assert whole_week([there, back])


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("MonFri 0123456789:-UTC/."), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        window(text)
    except PydanticCustomError as err:
        assert err.message()  # noqa: PT017
