"""What a node must survive, or refuse with its reason: garbage, cloned and full disks, spoilt files, a wrong clock."""

import contextlib
import json
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.testbed.installation import (
    ENROLMENT,
    LINK,
    MODEL,
    Agent,
    Installation,
    service_document,
    site_documents,
)
from tests.testbed.namespaces import Namespace, small_disk
from tests.testbed.network import CLOUD, Site
from tests.testbed.processes import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]

PADDED_BYTES = 6 << 20


@pytest.mark.parametrize(("host", "port"), [(CLOUD, LINK), (CLOUD, ENROLMENT), ("127.0.0.1", 9001)])
def test_garbage_on_a_port_is_survived(on: Installation, agent: Agent, seed: int, host: str, port: int) -> None:
    assert on.front
    front, node, since = on.front.pid, agent.running.pid, on.front.mark()
    sent = agent.namespace.run(sys.executable, "-m", "tests.testbed.garbage", host, str(port), str(seed), limit_s=60)
    assert int(sent) > 50
    agent.answered_at_s("digits", 5)
    until("the node is attached", agent.attached)
    assert (on.front.pid, agent.running.pid) == (front, node)
    assert on.front.running
    assert agent.running.running
    assert "Traceback" not in on.front.said(since) + agent.running.said()


def test_of_two_agents_with_one_identity_one_is_fenced_and_says_why(
    on: Installation, site: Site, agent: Agent, tmp_path: Path
) -> None:
    """A disk that was copied to another machine, whose agent therefore starts as the node's next boot."""
    clone = on.agent(site, 1)
    clone.state_dir = tmp_path / "clone"
    shutil.copytree(agent.state_dir, clone.state_dir)
    first, since = agent.running, agent.running.mark()
    clone.start()
    clone.running.says("attached")
    until("the first one ends", lambda: not first.running)
    assert "epoch" in first.said(since)
    assert "has attached in place of" in first.said(since)
    clone.answered_at_s("digits")
    # Its supervisor starts the first one again: it stays out, and the two do not take turns.
    agent.start()
    agent.running.says("another machine with this node's identity is attached")
    until("it ends", lambda: not agent.running.running)
    assert clone.running.running
    clone.running.end()
    agent.start()
    agent.running.says("attached")


@pytest.mark.parametrize("how", ["half-written", "flipped byte"])
def test_a_spoilt_assignment_is_told_and_given_again(site: Site, agent: Agent, seed: int, how: str) -> None:
    agent.running.end(signal.SIGKILL)
    path = agent.state_dir / "assignment.pb"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if how == "half-written" else flipped(whole, seed))
    site.cut_by_reset()
    agent.start()
    agent.running.says("ignoring a half-written or unreadable saved assignment")
    agent.running.says("cannot attach")
    assert agent.running.running
    site.mend()
    agent.answered_at_s("digits", 20)
    assert agent.status()["held_revision"] > 0


def test_a_spoilt_file_of_its_state_is_healed_or_told_and_the_agent_serves(agent: Agent, seed: int) -> None:
    """One bit of each file in turn. What only the node has is its key: that must be told, and is put back here."""
    draw = random.Random(seed)
    for path in sorted(each for each in agent.state_dir.rglob("*") if each.is_file()):
        agent.running.end()
        whole = path.read_bytes() if path.exists() else b""
        if path.name == "lock" or not whole:
            continue
        path.write_bytes(flipped(whole, draw.randrange(1 << 30)))
        agent.start()
        until(f"it settles with a flipped bit in {path.name}", _settled(agent), 20)
        said = agent.running.said()
        assert "Traceback" not in said, path
        if not agent.attached():
            assert path.name == "key.pem", f"{path}: not healed:\n{said}"
            assert "key.pem" in agent.command("doctor")
            agent.running.end()
            path.write_bytes(whole)
        print(path.name, "healed" if agent.running.running else "told")


def test_a_disk_that_is_full_amid_a_fetch_is_told_and_the_fetch_goes_on_when_there_is_room(
    on: Installation, tmp_path: Path, seed: int
) -> None:
    big = tmp_path / "big.tflite"
    big.write_bytes(MODEL.read_bytes() + random.Random(seed).randbytes(PADDED_BYTES))
    depot = on.net.site("depot")
    on.skerry("model", "push", "big", str(big), "--accuracy", "0.97")
    on.documents(site_documents("depot"))
    agent = on.agent(depot)
    with small_disk(agent.state_dir, 4 * PADDED_BYTES >> 10) as disk:
        agent.join(on.token("depot"))
        agent.running.says("attached")
        # Somebody else's, after the agent took its budget from what was free.
        (disk / "of-others").write_bytes(bytes(7 * PADDED_BYTES // 2))
        on.documents(service_document("big", "depot", "big"))
        until("operators see it", lambda: "free space" in on.skerry("get", "service", "big", "-o", "json"))
        assert agent.running.running
        before = received_bytes(agent.namespace)
        (disk / "of-others").unlink()
        agent.answered_at_s("big", 30)
        assert received_bytes(agent.namespace) - before < 0.8 * PADDED_BYTES, "it began anew"
        agent.running.end()


@pytest.mark.parametrize("off", ["-730d", "+730d"])
def test_with_a_clock_two_years_off_a_node_says_so_and_is_well_again_with_a_right_one(agent: Agent, off: str) -> None:
    """A clock that is behind ends nothing. By one that is ahead, the node was offline longer than its policy allows."""
    agent.running.end()
    with wrong_clock(agent, off):
        agent.start()
        agent.running.says("set this machine's clock")
        assert not agent.attached()
        assert "clock" in agent.command("doctor")
        if off.startswith("-"):
            agent.answered_at_s("digits")
        else:
            until("it has stopped", lambda: "valid_offline_s" in json.dumps(agent.status()))
    agent.start()
    agent.running.says("attached")
    agent.answered_at_s("digits")


def test_a_machine_whose_clock_is_two_years_off_is_told_so_when_it_joins(on: Installation, tmp_path: Path) -> None:
    agent = on.agent(on.net.sites["plant"], 1)
    agent.state_dir = tmp_path / "late"
    with wrong_clock(agent, "-730d"):
        agent.join(on.token("plant"))
        agent.running.says("set this machine's clock")


@contextlib.contextmanager
def wrong_clock(agent: Agent, off: str) -> Iterator[None]:
    """For its next process, by libfaketime: the wall clock, not the one that only counts."""
    library = next(Path("/usr/lib").rglob("libfaketimeMT.so.1"), None)
    assert library, "libfaketime is missing: run `make tools`"
    agent.environ |= {"LD_PRELOAD": str(library), "FAKETIME": off, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    try:
        yield
    finally:
        agent.environ.clear()
        if agent.program:
            agent.program.end()


def flipped(data: bytes, seed: int) -> bytes:
    """With one bit of one byte the other way."""
    draw, changed = random.Random(seed), bytearray(data)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def received_bytes(node: Namespace) -> int:
    return int(node.run("cat", "/sys/class/net/eth0/statistics/rx_bytes"))


def _settled(agent: Agent) -> Callable[[], bool]:
    """It serves and is attached, or it has ended, or it has told of a key that cannot be read."""

    def settled() -> bool:
        serves = bool(agent.loads()) and agent.attached()
        return serves or not agent.running.running or "key.pem" in agent.running.said()

    return settled
