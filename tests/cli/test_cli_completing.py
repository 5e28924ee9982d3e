"""What a Tab offers."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from orchestrator.model.stored import Key
from tests.api.fake_control import RunningControl
from tests.cli.conftest import Skerry

pytestmark = pytest.mark.real  # a gRPC server on loopback, or a process, in each test

Tab = Callable[..., list[str]]
NOTHING_HEAVY = ("ray", "tensorflow", "pydantic", "rich", "yaml", "sqlalchemy", "numpy", "matplotlib", "cel")


@pytest.fixture
def tab(skerry: Skerry, monkeypatch: pytest.MonkeyPatch) -> Tab:
    """The words that bash is offered for the last of `words`."""

    def offered(*words: str) -> list[str]:
        monkeypatch.setenv("_SKERRY_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(["skerry", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        ran = skerry()
        assert ran.err == ""
        return ran.out.split()

    return offered


@pytest.fixture
def filled(running: RunningControl) -> RunningControl:
    for kind, namespace, name in (
        ("ModelService", "default", "digits"),
        ("ModelService", "default", "faces"),
        ("ModelService", "plant-7", "welds"),
        ("Site", "", "harbour"),
        ("Site", "", "quay"),
        ("TrainingJob", "default", "digits-1"),
    ):
        running.do(running.control.put(Key(kind, namespace, name), {}))
    return running


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("get", "modelservice", ""), ["digits", "faces"]),
        (("get", "svc", "d"), ["digits"]),
        (("get", "svc", "-n", "plant-7", ""), ["welds"]),
        (("get", "sites", "-n", "plant-7", ""), ["harbour", "quay"]),
        (("describe", "site", "q"), ["quay"]),
        (("describe", "svc/"), ["svc/digits", "svc/faces"]),
        (("delete", "site", ""), ["harbour", "quay"]),
        (("wait", "svc/d"), ["svc/digits"]),
        (("wait", "models"), ["modelservices/digits", "modelservices/faces"]),
        (("wait", "svc"), ["svc/digits", "svc/faces"]),
        (("logs", ""), ["trainingjobs/digits-1"]),
        (("logs", "job"), ["job/digits-1"]),
        (("logs", "job/d"), ["job/digits-1"]),
        (("logs", "svc/"), []),
        (("explain", ""), ["digits", "faces"]),
        (("explain", "digits", "--site", "h"), ["harbour"]),
        (("infer", "f"), ["faces"]),
        (("get", "nodes", ""), ["harbour-a", "harbour-b"]),
        (("describe", "node/harbour-b"), ["node/harbour-b"]),
        (("delete", "no"), ["nodes"]),
        (("cordon", "harbour-b"), ["harbour-b"]),
        (("drain", ""), ["harbour-a", "harbour-b"]),
        (("get", "no"), ["nodes"]),
        (("get", "teapots", ""), []),
        (("get", "svc/digits", ""), []),
        (("wait", "model"), ["modelversions", "modelservices"]),
    ],
)
def test_names_come_from_the_control_plane(
    filled: RunningControl, tab: Tab, words: tuple[str, ...], wanted: list[str]
) -> None:
    assert tab(*words) == wanted


def test_the_control_plane_that_is_named_is_asked(
    filled: RunningControl, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKERRY_CONTROL", "127.0.0.1:9")
    assert tab("get", "svc", "d") == []
    assert tab("get", "--control", filled.address, "svc", "d") == ["digits"]


@pytest.mark.parametrize("address", ["127.0.0.1:9", "somewhere.else:7070", "nonsense"])
def test_without_a_control_plane_nothing_is_offered_and_nothing_said(
    tab: Tab, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("SKERRY_CONTROL", address)
    assert tab("get", "svc", "") == []
    assert tab("get", "sit") == ["sites"]


def test_a_mute_control_plane_is_not_waited_for(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        monkeypatch.setenv("SKERRY_CONTROL", f"127.0.0.1:{mute.getsockname()[1]}")
        start_s = time.monotonic()
        assert tab("get", "svc", "") == []
        assert time.monotonic() - start_s < 10  # a call of other verbs waits for 30 s


def test_an_error_of_the_control_plane_offers_nothing(filled: RunningControl, tab: Tab) -> None:
    def fail(call: str) -> None:
        raise ZeroDivisionError

    filled.control.before = fail
    assert tab("get", "svc", "") == []


@pytest.mark.parametrize(("words", "also"), [("skerry get sit", ("grpc",)), ("skerry get sites x", ())])
def test_completing_loads_little(running: RunningControl, words: str, also: tuple[str, ...]) -> None:
    heavy = (*NOTHING_HEAVY, *also)
    code = (
        "import sys; from orchestrator.cli.main import main; main([]);"
        f"print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    environ = {
        "PATH": "/usr/bin:/bin",
        "SKERRY_CONTROL": running.address,
        "_SKERRY_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environ)
    assert ran.stdout.splitlines()[-1] == "LOADED []"
