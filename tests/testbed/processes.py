"""Programs that run in namespaces until the testbed ends them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.testbed.namespaces import Namespace
from tests.testbed.tools import ROOT

END_WAIT_S = 10.0
POLL_S = 0.01
SHOWN_LINES = 40

Found = TypeVar("Found")


def until(what: str, look: Callable[[], Found], limit_s: float = 30.0) -> Found:
    """Poll for what another process does, bounded; answers the first that is true."""
    end_s = time.monotonic() + limit_s
    while True:
        if found := look():
            return found
        assert time.monotonic() < end_s, f"{what}: not within {limit_s:g} s"
        time.sleep(POLL_S)


@dataclass(slots=True)
class Program:
    """One process and what it says."""

    name: str
    log_path: Path
    process: subprocess.Popen[bytes]
    from_byte: int = 0  # of the log, which earlier starts wrote to as well

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def said(self, since: int = 0) -> str:
        return self.log_path.read_bytes()[max(since, self.from_byte) :].decode(errors="replace")

    def mark(self) -> int:
        """`since` for what it says from now on."""
        return self.log_path.stat().st_size

    def says(self, words: str, limit_s: float = 30.0, since: int = 0) -> str:
        """Wait until its log has the words; answers the log."""

        def look() -> str:
            said = self.said(since)
            if words not in said and not self.running:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}, not saying {words!r}:\n{said}")
            return said if words in said else ""

        return until(f"{self.name} says {words!r}", look, limit_s)

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit code; after END_WAIT_S it is killed."""
        if self.running:
            self.process.send_signal(number)
        try:
            return self.process.wait(END_WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(END_WAIT_S)


@dataclass(slots=True)
class Programs:
    """What a testbed started; each has a log below `folder`, to which its next start appends."""

    folder: Path
    started: list[Program] = field(default_factory=list)

    def start(
        self, namespace: Namespace, name: str, *command: str, environ: Mapping[str, str] | None = None
    ) -> Program:
        self.folder.mkdir(parents=True, exist_ok=True)
        log_path = self.folder / f"{name}.log"
        with log_path.open("ab") as log:
            from_byte = log.tell()
            process = subprocess.Popen(
                namespace.command(*command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=os.environ | (environ or {}),
                start_new_session=True,
            )
        self.started.append(Program(name, log_path, process, from_byte))
        return self.started[-1]

    def show(self) -> None:
        """Print the ends of all logs; pytest shows them when a test failed."""
        for log_path in sorted({program.log_path for program in self.started}):
            lines = log_path.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
            print(f"--- {log_path.name}", *lines, sep="\n")

    def close(self) -> None:
        for program in self.started:
            if program.running:
                program.process.kill()
            program.process.wait(END_WAIT_S)
        self.started.clear()
