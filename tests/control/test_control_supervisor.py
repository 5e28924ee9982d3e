"""`up` refuses what it cannot work with, before it starts anything, and `down` ends what was left behind."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestrator.cloud.ray_node import MARKER, PART, instance_of, leftovers
from orchestrator.control.supervisor import down, up
from orchestrator.errors import InvalidRequest, StoreUnavailable
from orchestrator.settings import Settings, settings_from

pytestmark = pytest.mark.real


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    sockets = [socket.socket() for _ in range(4)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    control, gateway, link, enrolment = (f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    environ = {"SKERRY_HOME": str(tmp_path), "SKERRY_CONTROL": control, "SKERRY_GATEWAY": gateway, "SKERRY_LINK": link}
    return settings_from(environ | {"SKERRY_ENROLMENT": enrolment})


def test_a_busy_port_is_named_with_the_flag_that_changes_it(settings: Settings) -> None:
    with socket.socket() as taken:
        host, _, port = settings.gateway_address.rpartition(":")
        taken.bind((host, int(port)))
        taken.listen()
        with pytest.raises(InvalidRequest, match="--gateway") as refused:
            up(settings, detach=False)
    assert settings.gateway_address in str(refused.value)


def test_a_file_that_is_no_database_is_left_as_it_is(settings: Settings) -> None:
    store = settings.state_dir / "store.db"
    store.write_bytes(b"half written" * 400)
    with pytest.raises(StoreUnavailable, match="SKERRY_STORE"):
        up(settings, detach=False)
    assert store.read_bytes() == b"half written" * 400


def test_two_cannot_share_a_state_folder(settings: Settings) -> None:
    settings.logs_dir.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); f.write('x');"
         " print('held', flush=True); time.sleep(60)", str(settings.state_dir / "up.lock")],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(InvalidRequest, match="skerry down"):
                up(settings, detach=False)
        finally:
            holder.kill()
            holder.wait()


def test_down_ends_what_a_killed_up_left_behind_and_nothing_else(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = os.environ | {MARKER: instance_of(settings.state_dir), PART: "control"}
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    left = subprocess.Popen(command, env=environ)
    other = subprocess.Popen(command, env=os.environ | {MARKER: "another"})
    try:
        end_s = time.monotonic() + 10
        while not leftovers(instance_of(settings.state_dir)) and time.monotonic() < end_s:
            assert left.poll() is None
        assert down(settings) == 0
        assert not psutil.pid_exists(left.pid)
        assert psutil.pid_exists(other.pid)
    finally:
        for process in (left, other):
            process.kill()
            process.wait()
    assert "stopped" in capsys.readouterr().out
    assert down(settings) == 0
    assert "nothing runs" in capsys.readouterr().out
