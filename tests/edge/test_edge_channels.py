import pytest

from workers.edge.channels import Backoff


def test_a_backoff_doubles_to_its_most_with_jitter_and_begins_again() -> None:
    class Chance:
        def __init__(self, share: float) -> None:
            self.share = share

        def uniform(self, low: float, high: float) -> float:
            return low + self.share * (high - low)

    longest, shortest = Backoff(Chance(1.0)), Backoff(Chance(0.0))  # type: ignore[arg-type]
    assert [longest.next_s() for _ in range(7)] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    assert [shortest.next_s() for _ in range(3)] == pytest.approx([0.1, 0.2, 0.4])
    longest.reset()
    assert longest.next_s() == pytest.approx(0.2)
