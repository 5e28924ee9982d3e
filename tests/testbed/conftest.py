"""One seed for all that a testbed draws, printed with each of them."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.network import Network, network


@pytest.fixture
def seed() -> int:
    """SKERRY_TESTBED_SEED repeats a run; `make soak` draws a new one, as for other examples."""
    if given := os.environ.get("SKERRY_TESTBED_SEED"):
        return int(given)
    return secrets.randbelow(2**31) if os.environ.get("HYPOTHESIS_PROFILE") == "new" else 1


@pytest.fixture
def net(tmp_path: Path, seed: int) -> Iterator[Network]:
    with network(tmp_path / "logs", seed) as built:
        yield built
