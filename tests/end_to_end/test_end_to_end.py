"""The whole on real parts, each part killed under load. Calls come from unmodified clients in their own processes."""

import ipaddress
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks.demo.stage import ROOT, DemoFailed, Stage, answer_of, wait_for
from tests.end_to_end.conftest import SERVICE, is_ready, processes

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

CALLERS, RATE_RPS = 8, 220
KSERVE = ROOT / ".venvs" / "kserve" / "bin" / "python"
RESUME_S = 15.0


def under_load(on: Stage, service: str, seconds: float) -> subprocess.Popen[str]:
    more = ("--service", service, "--seconds", str(seconds), "--rate-rps", str(RATE_RPS), "--callers", str(CALLERS))
    return on.client("load", on.gateway, *more)


def nothing_lost(found: dict[str, Any]) -> None:
    assert found["lost"] == 0, f"{found['lost']} of {found['calls']} calls lost: {found['failures']}"
    assert found["rate_rps"] >= 200, found


def epoch_of(on: Stage) -> int:
    """0 while the control plane is away."""
    try:
        return int(json.loads(on.skerry("status", "-o", "json"))["epoch"])
    except DemoFailed:
        return 0


def test_tritonclient_is_answered_by_the_front_and_on_the_lan(installation: Stage) -> None:
    for address in (installation.gateway, installation.lan["edge-a"]):
        found = answer_of(installation.client("accuracy", address))
        assert found["accuracy"] >= 0.95
        assert set(found["sites"]) <= {"edge-a", "edge-b"}


def test_kserves_client_is_answered_by_the_front_and_on_the_lan(installation: Stage) -> None:
    assert KSERVE.exists(), f"{KSERVE} is missing: run `make .venvs/kserve/ready`"
    images = installation.folder / "test-images.npz"
    labels = np.load(images)["labels"][:20]
    for address in (installation.gateway, installation.lan["edge-a"]):
        script = str(Path(__file__).with_name("kserve_client.py"))
        command = [str(KSERVE), script, address, "digits", str(images)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        digits = json.loads(done.stdout.splitlines()[-1])
        assert np.mean(np.array(digits) == labels) >= 0.9


def test_the_cloud_never_connects_to_an_agent(installation: Stage) -> None:
    ours = {pid for p in processes(installation, "") for pid in [p.pid]}
    agent_ports = {int(address.rpartition(":")[2]) for address in installation.lan.values()}
    answer_of(under_load(installation, "digits", 1.0))
    # The port after a LAN gateway's is for nodes of its site.
    given = agent_ports | {port + 1 for port in agent_ports}
    reached = {c.pid for c in psutil.net_connections("tcp") if c.raddr and c.raddr.port in given}
    assert not reached & ours
    for agent in installation.agents.values():
        listening = [c for c in psutil.Process(agent.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert {c.laddr.port for c in listening} <= given


def test_nothing_listens_beyond_loopback(installation: Stage) -> None:
    """Plain text is for loopback only, also inside Ray and Serve."""
    pids = {p.pid for p in processes(installation, "")} | {a.pid for a in installation.agents.values()}
    listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid in pids]
    assert len(listening) > 5
    beyond = [c for c in listening if not ipaddress.ip_address(c.laddr.ip.removeprefix("::ffff:")).is_loopback]
    assert not beyond, [(psutil.Process(c.pid).cmdline()[:1], c.laddr) for c in beyond]


def test_what_is_planned_is_what_apply_does_and_decisions_replay_equal(installation: Stage) -> None:
    on = installation
    documents = on.folder / "planned.yaml"
    documents.write_text(SERVICE % ("planned", "at-the-edge"))
    plan = on.plan(documents)
    assert [(one["name"], one["action"]) for one in plan["objects"]] == [("planned", "created")]
    planned = {(one["after"]["site"], one["replicas"]) for one in plan["steps"]}
    assert {one["act"] for one in plan["steps"]} == {"start"}
    on.skerry("apply", "-f", str(documents))
    wait_for("ready", lambda: is_ready(on, "planned"), 60)
    replicas = on.get("service", "planned")["status"]["replicas"]
    assert planned == {(one["site"], 1) for one in replicas}
    assert on.plan(documents)["steps"] == []
    found = on.replays(3)
    assert len(found) == 3
    assert all(found.values()), found
    on.skerry("delete", "-f", str(documents))


@pytest.mark.parametrize("service", ["digits", "cloud-digits"])
def test_control_killed_loses_no_call_and_decisions_resume(installation: Stage, service: str) -> None:
    """Decisions resume: a service that is applied after the kill is placed and answered."""
    on = installation
    before = epoch_of(on)
    load = under_load(on, service, 20)
    time.sleep(1.0)  # the load is under way
    (control,) = processes(on, "ray::ServeReplica:skerry-control")
    control.kill()
    start_s = time.monotonic()
    late = f"late-{service}"
    documents = on.folder / "late.yaml"
    documents.write_text(SERVICE % (late, "at-the-edge"))

    def decided() -> bool:
        try:
            on.skerry("apply", "-f", str(documents))
            return is_ready(on, late)
        except DemoFailed:
            return False

    wait_for("a decision", decided, 60)
    resumed_s = time.monotonic() - start_s
    assert epoch_of(on) > before
    nothing_lost(answer_of(load))
    print(f"decisions resumed after {resumed_s:.1f} s")
    assert resumed_s <= RESUME_S, f"decisions resumed after {resumed_s:.1f} s"


def test_cloud_replica_killed_loses_no_call(installation: Stage) -> None:
    on = installation
    wait_for("cloud replicas", lambda: len(processes(on, "ray::ServeReplica:default.cloud-digits")) == 2, 60)
    load = under_load(on, "cloud-digits", 6)
    time.sleep(2.0)
    processes(on, "ray::ServeReplica:default.cloud-digits")[0].kill()
    found = answer_of(load)
    nothing_lost(found)
    assert set(found["sites"]) == {"local"}
    wait_for("healed", lambda: len(processes(on, "ray::ServeReplica:default.cloud-digits")) == 2, 60)


def test_front_serves_from_its_last_routes_while_rays_head_is_down(installation: Stage) -> None:
    on = installation
    before = epoch_of(on)
    load = under_load(on, "digits", 10)
    time.sleep(1.0)
    for part in ("gcs_server", "raylet/raylet"):
        for process in processes(on, part):
            process.kill()
    nothing_lost(answer_of(load))
    wait_for("Ray, Serve and the control plane again", lambda: epoch_of(on) > before, 90)
    wait_for("cloud replicas again", lambda: is_ready(on, "cloud-digits"), 90)


def test_front_killed_comes_back_with_its_nodes(installation: Stage) -> None:
    on = installation
    agents = {site: agent.pid for site, agent in on.agents.items()}
    (front,) = processes(on, "orchestrator.front")
    front.kill()
    wait_for("a new front", lambda: [p for p in processes(on, "orchestrator.front") if p.pid != front.pid] != [], 30)

    def answered() -> bool:
        found = answer_of(on.client("load", on.gateway, "--seconds", "1", "--rate-rps", "20", "--callers", "2"))
        return bool(found["lost"] == 0)

    wait_for("answers", answered, 30)
    assert {site: agent.pid for site, agent in on.agents.items() if agent.poll() is None} == agents
