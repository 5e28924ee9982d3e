"""The command run in this process against a control plane in memory."""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from tests.api.fake_control import RunningControl, running_control


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str


Skerry = Callable[..., Ran]


@pytest.fixture
def skerry(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Skerry:
    """Run the command; nothing of this machine's own Skerry is touched."""
    monkeypatch.setenv("SKERRY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SKERRY_CONTROL", "127.0.0.1:9")  # the discard port: nobody listens

    def run(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def running(skerry: Skerry, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningControl]:
    """A control plane that `skerry` finds by itself."""
    with running_control() as found:
        monkeypatch.setenv("SKERRY_CONTROL", found.address)
        yield found
