"""The figures of `python -m benchmarks.artifacts`, small: on real processes and a real, limited line."""

import random
from pathlib import Path

import pytest

from benchmarks.artifacts.__main__ import MIB, Figure, budget, killed, second_node
from benchmarks.artifacts.site import site

pytestmark = pytest.mark.real


def within(figures: list[Figure]) -> None:
    assert not [figure.line() for figure in figures if figure.missed]


async def test_killed_ten_times_it_costs_hardly_more_than_once(tmp_path: Path) -> None:
    within(await killed(tmp_path, 40 * MIB, 160.0))


async def test_a_second_node_of_a_site_costs_the_wan_next_to_nothing(tmp_path: Path) -> None:
    within(await second_node(tmp_path, 8 * MIB))


async def test_no_more_is_taken_of_the_line_than_the_policy_allows(tmp_path: Path) -> None:
    within(await budget(tmp_path, 4 * MIB, 16.0))


async def test_a_next_version_costs_what_changed(tmp_path: Path) -> None:
    first = random.Random(1).randbytes(8 * MIB)
    (tmp_path / "first").write_bytes(first)
    (tmp_path / "next").write_bytes(first[: 3 * MIB] + random.Random(2).randbytes(MIB) + first[4 * MIB :])
    async with site(tmp_path) as here:
        await here.fetched("node", here.add(tmp_path / "first"))
        following = here.add(tmp_path / "next")
        _, sent = await here.fetched("node", following)
        assert here.is_right("node", following)
    assert sent <= 0.2 * 8 * MIB
