"""The time of day on machines whose clock goes back, or was ahead."""

import datetime
import logging
from pathlib import Path

import pytest

from workers.edge.clock import TOLERATED_S, WRITTEN_EVERY_S, Clock

THEN_S = 1_800_000_000.0
YEAR_S = 365 * 86_400.0


def at(second: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(second, datetime.UTC)


class Wall:
    def __init__(self, now_s: float = THEN_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def test_a_clock_that_went_back_is_told_once_and_time_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall()
    Clock(tmp_path, wall).note()
    wall.now_s = THEN_S - 2 * YEAR_S
    clock = Clock(tmp_path, wall)  # after a reboot
    assert (clock.now(), clock.behind_s()) == (at(THEN_S), 2 * YEAR_S)
    with caplog.at_level(logging.ERROR):
        clock.note()
        clock.note()
    assert caplog.text.count("the clock is behind the latest time ever seen here") == 1
    wall.now_s = THEN_S + 1
    assert (clock.now(), clock.behind_s()) == (at(THEN_S + 1), 0.0)


def test_it_is_written_seldom_and_small_corrections_are_no_news(tmp_path: Path) -> None:
    wall = Wall()
    clock = Clock(tmp_path, wall)
    clock.note()
    written = (tmp_path / "clock.json").read_bytes()
    wall.now_s += WRITTEN_EVERY_S - 1
    clock.note()
    assert (tmp_path / "clock.json").read_bytes() == written
    wall.now_s = THEN_S - TOLERATED_S
    assert clock.behind_s() == 0.0
    wall.now_s = THEN_S + WRITTEN_EVERY_S + 1
    clock.note()
    assert (tmp_path / "clock.json").read_bytes() != written


def test_a_fresh_certificate_ends_a_floor_of_a_clock_that_was_ahead(tmp_path: Path) -> None:
    wall = Wall(THEN_S + 2 * YEAR_S)
    clock = Clock(tmp_path, wall)
    clock.note()
    wall.now_s = THEN_S
    assert clock.behind_s() > 0
    clock.learn(at(THEN_S - 300))
    assert (clock.now(), clock.behind_s()) == (at(THEN_S), 0.0)


def test_a_fresh_certificate_tells_the_time_to_a_machine_without_a_battery(tmp_path: Path) -> None:
    clock = Clock(tmp_path, Wall(0.0))
    assert clock.now() == at(0)
    clock.learn(at(THEN_S))
    assert clock.now() == at(THEN_S)
    assert clock.behind_s() == THEN_S


@pytest.mark.parametrize("spoilt", ["", "{}", "[]", '{"latest_s": "x"}', '{"latest_s": 1e300}', '{"latest_s": -5}'])
def test_a_spoilt_file_is_no_floor(tmp_path: Path, spoilt: str) -> None:
    (tmp_path / "clock.json").write_text(spoilt)
    assert Clock(tmp_path, Wall()).now() == at(THEN_S)
