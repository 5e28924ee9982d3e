"""An agent under a service manager: what it tells, and whether its unit and its container say what they should."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Node
from fake_front import WAIT_S, FakeFront

from workers.edge.command import _parser
from workers.edge.configured import options_of
from workers.edge.service import ServiceManager

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging" / "systemd" / "skerry-edge.service"
CONTAINER = ROOT / "packaging" / "container" / "Containerfile"
NEWER = {"RestartSteps", "RestartMaxDelaySec"}  # than systemd 252


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(WAIT_S)
        yield receiver


def told(manager: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())


@pytest.mark.real
async def test_the_manager_hears_of_the_start_of_life_and_of_the_end(
    front: FakeFront, node: Node, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    node.start(front.address)
    assert told(manager) == {"READY": "1", "STATUS": "not attached yet"}
    await front.until(lambda: front.reports, "a report")
    while (word := told(manager)).get("STATUS") != "attached":
        assert word["WATCHDOG"] == "1"
    assert told(manager) == {"WATCHDOG": "1"}
    assert node.stop() == 0
    while "STOPPING" not in (word := told(manager)):
        assert word["WATCHDOG"] == "1"


def test_a_name_without_a_file_is_told_too_and_replicas_do_not_inherit_it() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0skerry-test-{os.getpid()}")
        environ = {"NOTIFY_SOCKET": f"@skerry-test-{os.getpid()}", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "A": "b"}
        ServiceManager(environ).stopping()
        receiver.settimeout(WAIT_S)
        assert told(receiver)["STOPPING"] == "1"
    assert environ == {"A": "b"}


def test_a_manager_that_is_gone_or_was_never_there_is_no_error(tmp_path: Path) -> None:
    ServiceManager({}).stopping()
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).stopping()


@pytest.mark.real
def test_the_unit_is_one_for_systemd_and_leaves_little_open(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    assert analyze, "systemd-analyze is missing: run `make tools`"
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", UNIT.read_text()))
    verified = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    objections = [line for line in verified.stderr.splitlines() if not any(f"'{key}'" in line for key in NEWER)]
    assert (verified.returncode, objections) == (0, [])
    command = [analyze, "security", "--offline=true", "--threshold=20", str(unit)]  # 2.0 of 10
    secured = subprocess.run(command, capture_output=True, text=True, check=False)
    assert secured.returncode == 0, secured.stdout


def test_the_unit_runs_a_command_that_exists_with_options_that_exist() -> None:
    text = UNIT.read_text()
    command = re.findall(r"(?m)^ExecStart=\S+/skerry-edge (\S+)$", text)
    known = options_of(_parser())
    assert len(command) == 1
    assert command[0] in known
    named = re.findall(r"SKERRY_EDGE_([A-Z_]+)=", text + (UNIT.parent / "edge.env.example").read_text())
    assert {each.lower().replace("_", "-") for each in named} <= known["run"]
    assert "STATE_DIR" in named


def test_the_container_runs_as_nobody_in_particular_and_copies_what_is_there() -> None:
    """Its grammar was checked with BuildKit's own parser by hand; here is what a change would most likely break."""
    lines = re.sub(r"\\\n", " ", CONTAINER.read_text()).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith(("#", " "))]
    last = [(word, rest) for word, rest in steps[max(i for i, (word, _) in enumerate(steps) if word == "FROM") :]]
    assert ("USER", "10001:10001") in last
    assert ("ENTRYPOINT", '["skerry-edge"]') in last
    assert any(word == "HEALTHCHECK" and '"skerry-edge", "status"' in rest for word, rest in last)
    (volume,) = (rest for word, rest in last if word == "VOLUME")
    assert f"SKERRY_EDGE_STATE_DIR={volume}" in CONTAINER.read_text()
    for word, rest in steps:
        if word == "COPY" and "--from" not in rest:
            assert all((ROOT / name).exists() for name in rest.split()[:-1]), rest
