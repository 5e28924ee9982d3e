"""A fleet's signs of life through the real parts that judge them, from one seed; 100,000 in `benchmarks.fleet`."""

import pytest

from benchmarks.fleet.simulation import LOST_AFTER_S, SimulatedFleet


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_lost_too_soon_and_all_come_back(seed: int) -> None:
    looked = SimulatedFleet(1_000, seed, faults_s=300.0).run()
    assert looked.beats > 20_000
    assert looked.most_unknown > 400, "a domain or a front fell silent"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_the_same_from_more_seeds(seed: int) -> None:
    """Seed 5 of 2,000 nodes found that the last of an outage to dial again were given up because most were back."""
    looked = SimulatedFleet(2_000, seed).run()
    assert looked.lost < 20 < looked.held_back
    assert looked.back_s < LOST_AFTER_S


def test_a_seed_makes_the_same_run_again() -> None:
    first, again = (SimulatedFleet(500, 7, faults_s=60.0, quiet_s=90.0).run() for _ in range(2))
    assert first == again
