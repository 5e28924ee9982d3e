"""A node that joins, is cut off, rebooted alone, or given back to an older control plane: real processes, real NAT."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.testbed.installation import (
    GATEWAY,
    Agent,
    Installation,
    Load,
    answered_at_s,
    service_document,
    site_documents,
)
from tests.testbed.network import ROUTER_LAN, Site, Wan
from tests.testbed.processes import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]

JOIN_LIMIT_S = 10.0
NAT_IDLE_S = 14  # keepalive is due after 10


def test_from_join_to_the_first_answers_through_nat(on: Installation, joined: Agent) -> None:
    """`python -m benchmarks.wan` has the figure; here, beside other tests, twice as long will do."""
    on_lan_s = joined.answered_at_s("digits", 30) - joined.joining_at_s
    relayed_s = answered_at_s(on.net.cloud, GATEWAY, "digits", 30) - joined.joining_at_s
    print(f"first answer on the LAN after {on_lan_s:.1f} s, through the front after {relayed_s:.1f} s")
    assert max(on_lan_s, relayed_s) <= 2 * JOIN_LIMIT_S


def test_rebooted_without_any_network_it_serves_from_disk(on: Installation, agent: Agent) -> None:
    before = agent.status()
    agent.running.end(signal.SIGKILL)
    agent.namespace.ip("link", "set", "eth0", "down")
    agent.start()
    agent.answered_at_s("digits")
    after = agent.status()
    assert after["link"] == "not attached"
    assert (after["held_revision"], after["process"]) == (before["held_revision"], agent.running.pid)
    assert after["epoch"] > before["epoch"]
    agent.namespace.ip("link", "set", "eth0", "up")
    agent.namespace.ip("route", "add", "default", "via", ROUTER_LAN)  # gone with the link
    agent.running.says("attached")


@pytest.mark.parametrize("part", ["node", "front", "front and node"])
def test_a_reboot_is_no_reason_to_move_anything(on: Installation, agent: Agent, part: str) -> None:
    """What was measured before counts until there are new samples."""
    assert on.control
    assert on.front
    before, since = agent.status(), on.control.mark()
    if "front" in part:
        on.front.end(signal.SIGKILL)
    if "node" in part:
        agent.running.end(signal.SIGKILL)
        agent.start()
    if "front" in part:
        on.start_front()
    until("the node serves and is attached", lambda: agent.loads() and agent.attached(), 30)
    until("the front has its routes", lambda: answered_at_s(on.net.cloud, GATEWAY, "digits", 20))
    after = agent.status()
    assert after["held_revision"] == before["held_revision"]
    assert (after["process"] == before["process"]) == ("node" not in part)
    assert "left plant" not in on.control.said(since)


@pytest.mark.parametrize("how", ["silently", "behind a proxy", "by reset"])
def test_after_a_cut_nothing_restarts(site: Site, agent: Agent, how: str) -> None:
    until("the node is attached", agent.attached)
    before, loads, since = agent.status(), agent.loads(), agent.running.mark()
    match how:
        case "silently":
            site.cut_silently()
        case "behind a proxy":
            site.cut_behind_the_proxy()
        case _:
            site.cut_by_reset()
    agent.running.says("link lost", 25, since)
    agent.answered_at_s("digits", 1)
    site.mend()
    agent.running.says("attached again", 30, since)
    until("the node is attached", agent.attached)
    after = agent.status()
    assert agent.loads() == loads
    assert (after["process"], after["held_revision"]) == (before["process"], before["held_revision"])


def test_a_router_that_forgets_idle_flows_ends_no_connection(on: Installation, agent: Agent) -> None:
    """Keepalive is quicker than it; without, the relay would be lost, and a call over it wait for nothing."""
    home = on.net.site("home", Wan(nat_idle_s=NAT_IDLE_S))
    on.documents(site_documents("home") + service_document("at-home", "home"))
    other = on.agent(home)
    other.join(on.token("home"), "--probe-interval-s", "60")
    answered_at_s(on.net.cloud, GATEWAY, "at-home", 30)
    since, rest_s = other.running.mark(), 1.5 * NAT_IDLE_S
    until("idle flows would be forgotten", _after(rest_s), rest_s + 10)
    asked_at_s = time.monotonic()
    answered_at_s(on.net.cloud, GATEWAY, "at-home", 5)
    print(f"answered after {time.monotonic() - asked_at_s:.2f} s, which is mostly the caller's start")
    assert "lost" not in other.running.said(since)
    other.running.end()


def test_cuts_lose_no_call_of_the_site(site: Site, agent: Agent, seed: int) -> None:
    """`python -m benchmarks.wan` has the figure, with more calls and with their times."""
    draw = random.Random(seed)
    load = Load.start(agent, "digits", callers=4, rate_rps=200, calls=1200)
    for _ in range(3):
        draw.choice((site.cut_silently, site.cut_by_reset))()
        until("the cut lasts", _after(draw.uniform(0.5, 1.5)))
        site.mend()
        until("the link is back for a while", _after(draw.uniform(0.1, 0.5)))
    calls = load.calls()
    assert len(calls) == 1200
    assert [call for call in calls if call.said != "OK"] == []
    print("ms p50, p99, most:", np.percentile([call.took_s for call in calls], [50, 99, 100]) * 1000)


@pytest.mark.parametrize("how", ["skerry restore", "a copied file"])
def test_given_back_to_an_older_control_plane_nothing_restarts(
    on: Installation, agent: Agent, tmp_path: Path, how: str
) -> None:
    """`skerry restore` makes revisions jump ahead; with a copy they go back, below what the node holds."""
    (digits,), loads, before = agent.loads(), agent.loads(), agent.status()
    cloud, kept = on.folder / "cloud", tmp_path / "kept"
    kept.mkdir()
    assert on.control
    if how == "skerry restore":
        on.skerry("backup", str(kept / "backup"))
    else:
        on.control.end()
        for path in cloud.glob("store.db*"):
            shutil.copy(path, kept)
        on.start_control()
    on.documents(service_document("passing", "plant"))
    until("another replica", lambda: len(agent.loads()) == 2, 30)
    on.documents(service_document("passing", "plant"), "delete")
    until("it is gone again", lambda: len(agent.loads()) == 1, 30)
    held = agent.status()["held_revision"]
    assert held > before["held_revision"]

    on.control.end()
    if how == "skerry restore":
        on.skerry("restore", str(kept / "backup"), "--force")
    else:
        for path in [*cloud.glob("store.db*")]:
            path.unlink()
        for path in kept.iterdir():
            shutil.copy(path, cloud)
    control = on.start_control()
    if how == "a copied file":
        control.says("a node holds a newer assignment than this store gave it")
    on.documents(service_document("later", "plant"))
    until("the node obeys the restored control plane", lambda: len(agent.loads()) == 2, 30)
    after = agent.status()
    assert agent.loads()[digits] == loads[digits]
    assert after["process"] == before["process"]
    assert after["held_revision"] > held
    agent.answered_at_s("later")
    on.documents(service_document("later", "plant"), "delete")
    until("it is gone again", lambda: len(agent.loads()) == 1, 30)


def _after(wait_s: float) -> Callable[[], bool]:
    end_s = time.monotonic() + wait_s
    return lambda: time.monotonic() >= end_s
