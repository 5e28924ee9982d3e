"""When nobody answers, or somebody else does, or the command has a bug: one line, a remedy, a code."""

import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from orchestrator.cli.main import main
from orchestrator.errors import StoreUnavailable
from tests.api.fake_control import RunningControl
from tests.cli.conftest import Skerry

pytestmark = pytest.mark.real

VERBS = [
    ("status",),
    ("get", "svc"),
    ("get", "svc", "x"),
    ("get", "svc", "-w"),
    ("describe", "svc/x"),
    ("delete", "svc/x"),
    ("wait", "svc/x", "--for", "delete"),
    ("train", "--model", "digits"),
    ("logs", "job/x"),
    ("explain", "x"),
    ("model", "list"),
]


@pytest.mark.parametrize("arguments", VERBS, ids=" ".join)
def test_no_control_plane(skerry: Skerry, arguments: tuple[str, ...]) -> None:
    ran = skerry(*arguments)
    assert ran.err == "skerry: control plane not reachable at 127.0.0.1:9: is `skerry up` running?\n"
    assert (ran.code, ran.out) == (1, "")


def test_no_gateway(skerry: Skerry) -> None:
    ran = skerry("infer", "digits", "--gateway", "127.0.0.1:9")
    assert ran.code == 1
    assert ran.err.startswith(
        "skerry: no gateway answers at 127.0.0.1:9: nothing listens there: start one with `skerry up`"
    )


@pytest.mark.parametrize("address", ["192.0.2.1:7070", "front.example:7070"])
def test_plain_text_never_leaves_this_machine(
    skerry: Skerry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    monkeypatch.setenv("SKERRY_IDENTITY", str(tmp_path / "none"))
    ran = skerry("status", "--control", address)
    assert (ran.code, "is not on loopback, and asks who you are" in ran.err) == (1, True)


@pytest.mark.parametrize("address", ["127.0.0.1", ":7070", "127.0.0.1:x"])
def test_an_address_is_host_and_port(skerry: Skerry, address: str) -> None:
    ran = skerry("status", "--control", address)
    assert (ran.code, ran.err.startswith(f"skerry: --control: '{address}'")) == (1, True)
    assert skerry("infer", "x", "--gateway", address).err.startswith(f"skerry: --gateway: '{address}'")


def test_a_program_that_is_no_control_plane(skerry: Skerry) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ran = skerry("status", "--control", f"127.0.0.1:{port}")
    server.stop(None)
    assert (ran.code, "does not speak control/v1" in ran.err) == (1, True)


def test_a_program_that_speaks_no_grpc(skerry: Skerry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"SSH-2.0-OpenSSH\r\n" * 10)
                peer.settimeout(5)
                while peer.recv(4_096):
                    pass

        greeter = threading.Thread(target=greet, daemon=True)
        greeter.start()
        ran = skerry("status", "--control", f"127.0.0.1:{listener.getsockname()[1]}")
    assert (ran.code, ran.err.count("\n")) == (1, 1)


def test_the_control_planes_own_trouble_is_told_as_it_is(skerry: Skerry, running: RunningControl) -> None:
    def fail(call: str) -> None:
        raise StoreUnavailable("database /x/store.db: disk full: make room")

    running.control.before = fail
    ran = skerry("get", "svc")
    assert (ran.code, ran.err) == (1, "skerry: database /x/store.db: disk full: make room\n")


class BrokenStdin:
    """Stands for a bug of ours: an error that nothing in the command expects."""

    @property
    def buffer(self) -> object:
        raise ZeroDivisionError("oops")


def test_a_bug_is_one_line_unless_debugging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", BrokenStdin())
    code = main(["apply", "-f", "-"])
    wanted = "skerry: unexpected ZeroDivisionError: oops: this is a bug; repeat with --debug to see where\n"
    assert (code, capsys.readouterr().err) == (1, wanted)
    with pytest.raises(ZeroDivisionError):
        main(["apply", "-f", "-", "--debug"])
