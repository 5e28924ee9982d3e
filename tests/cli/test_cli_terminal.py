"""The command as a process: bars at a terminal, none elsewhere, and the verbs that go on until they are stopped."""

import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.model.stored import Key
from tests.api.fake_control import RunningControl
from tests.cli.manifests import JOB

pytestmark = pytest.mark.real

DIGITS = Path(__file__).parents[1] / "models" / "digits-fp32.tflite"
COMMAND = [sys.executable, "-c", "import sys; from orchestrator.cli.main import main; sys.exit(main())"]
KEY = Key("Zone", "", "plant")


def at_terminal(environ: dict[str, str], *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output, and what a terminal on standard error was sent."""
    ours, theirs = pty.openpty()
    told: list[bytes] = []

    def read() -> None:
        try:
            while block := os.read(ours, 65_536):
                told.append(block)
        except OSError:  # how Linux says that the other end was closed
            return

    reader = threading.Thread(target=read)
    reader.start()
    given = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environ}
    ran = subprocess.run(
        [*COMMAND, *arguments], input=stdin, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=60, env=given
    )
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    return ran.returncode, ran.stdout, b"".join(told).decode()


def test_training_draws_a_bar_at_a_terminal(running: RunningControl) -> None:
    code, out, told = at_terminal({}, "train", "-f", "-", stdin=JOB)
    assert (code, out.splitlines()[0]) == (0, "trainingjob/digits-1 succeeded: modelversion/digits-v1")
    assert "\x1b[" in told
    assert "3/3" in told
    assert "accuracy 0.5" in told


def test_no_color_means_plain_lines(running: RunningControl) -> None:
    code, _, told = at_terminal({"NO_COLOR": "1"}, "train", "-f", "-", stdin=JOB)
    assert (code, "\x1b" in told) == (0, False)
    assert "default/digits-1 running: step 3/3 loss 0.25" in told


def test_pushing_and_waiting_at_a_terminal(running: RunningControl) -> None:
    code, out, told = at_terminal({}, "model", "push", "digits", str(DIGITS))
    assert (code, "registered, sha256:" in out) == (0, True)
    assert "100%" in told or "kB" in told or "bytes" in told
    running.do(running.control.put(KEY, {}, {"phase": "pending"}))
    code, _, told = at_terminal({}, "wait", "zone/plant", "--for", "phase=ready", "--timeout", "0.3")
    assert (code, "zone/plant: phase ready; now phase pending" in told) == (3, True)


def test_get_goes_on_with_changes_until_interrupted(running: RunningControl) -> None:
    running.do(running.control.put(KEY, {"region": "a"}))
    with subprocess.Popen([*COMMAND, "get", "zones", "-w"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().split()[:2] == ["NAME", "REGION"]
        assert process.stdout.readline().split()[:2] == ["plant", "a"]
        running.do(running.control.put(KEY, {"region": "b"}))
        assert process.stdout.readline().split()[:2] == ["plant", "b"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def test_status_goes_on_until_interrupted(running: RunningControl) -> None:
    with subprocess.Popen([*COMMAND, "status", "--watch"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("skerry 0.1.0")
        running.do(running.control.put(KEY, {"region": "b"}))
        heads = (line for line in process.stdout if line.startswith("skerry "))
        assert "change 1" in next(heads)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


@pytest.mark.parametrize("count", [1, 300], ids=["one page", "more than a pipe holds"])
def test_a_reader_that_has_seen_enough_is_no_error(running: RunningControl, count: int) -> None:
    for at in range(count):
        running.do(running.control.put(Key("Zone", "", f"zone-{at}"), {"region": "r" * 300}))
    with subprocess.Popen(
        [*COMMAND, "get", "zones", "-o", "yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) in (0, 1)  # the framework's own handling ends with 1
