"""One seed for all that a testbed draws, printed with each of them."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.installation import LINK, Agent, Installation, installed, serving
from tests.testbed.network import Network, Site, Wan, network
from tests.testbed.processes import until


@pytest.fixture(scope="session")
def seed() -> int:
    """SKERRY_TESTBED_SEED repeats a run; `make soak` draws a new one, as for other examples."""
    if given := os.environ.get("SKERRY_TESTBED_SEED"):
        return int(given)
    return secrets.randbelow(2**31) if os.environ.get("HYPOTHESIS_PROFILE") == "new" else 1


@pytest.fixture
def net(tmp_path: Path, seed: int) -> Iterator[Network]:
    """Of one test."""
    with network(tmp_path / "logs", seed) as built:
        yield built
        built.programs.show()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Iterator[Installation]:
    """Of all tests of a file, with a site `plant` of two nodes; starting it takes longer than most of them."""
    folder = tmp_path_factory.mktemp("testbed")
    with network(folder / "logs", seed) as net:
        net.site("plant", Wan(up_mbps=10, down_mbps=20, one_way_ms=15, jitter_ms=3, ports=(LINK,)), nodes=2)
        yield installed(net, folder, "plant")


@pytest.fixture
def on(installation: Installation) -> Iterator[Installation]:
    yield installation
    print(f"seed {installation.net.seed}")
    installation.net.programs.show()


@pytest.fixture
def site(on: Installation) -> Site:
    return on.net.sites["plant"]


@pytest.fixture(scope="module")
def joined(installation: Installation) -> Agent:
    built = installation.agent(installation.net.sites["plant"])
    built.join(installation.token("plant"))
    return built


@pytest.fixture
def agent(site: Site, joined: Agent) -> Agent:
    """Joined, attached, with a replica of `digits` that is ready; also after a test that failed."""
    site.mend()
    joined.environ.clear()
    if not joined.running.running:
        joined.start()
    serving(joined)
    until("the node is attached", joined.attached)
    return joined
