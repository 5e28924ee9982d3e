"""Toxiproxy in a namespace: delay and jitter of what passes, and resets of what is under way."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.testbed.namespaces import Namespace
from tests.testbed.processes import Program, Programs, until
from tests.testbed.tools import toxiproxy

API = "127.0.0.1:8474"


@dataclass(slots=True)
class Toxiproxy:
    """One server, whose proxies listen at the ports of what they pass on to. `seed`: of its jitter."""

    namespace: Namespace
    server: Program
    ports: list[int] = field(default_factory=list)

    @classmethod
    def start(cls, programs: Programs, namespace: Namespace, name: str, seed: int) -> "Toxiproxy":
        host, _, port = API.partition(":")
        command = (toxiproxy("server"), "-host", host, "-port", port, "-seed", str(seed))
        environ = {"LOG_LEVEL": "warn"}
        server = programs.start(namespace, f"toxiproxy-{name}", *command, environ=environ)
        started = cls(namespace, server)
        until("Toxiproxy listens", started._listens)
        return started

    def pass_on(self, port: int, to: str) -> None:
        self._cli("create", "--listen", f"0.0.0.0:{port}", "--upstream", f"{to}:{port}", str(port))
        self.ports.append(port)

    def delay(self, one_way_ms: float, jitter_ms: float = 0.0) -> None:
        """Of each direction, from now on; each chunk takes `one_way_ms`, give or take up to `jitter_ms`."""
        for port in self.ports:
            for way in ("upstream", "downstream"):
                toxic = ("--type", "latency", "--toxicName", f"delay-{way}", f"--{way}")
                amounts = ("-a", f"latency={round(one_way_ms)}", "-a", f"jitter={round(jitter_ms)}")
                self._cli("toxic", "add", *toxic, *amounts, str(port))

    def undelay(self) -> None:
        for port in self.ports:
            for way in ("upstream", "downstream"):
                self._cli("toxic", "remove", "--toxicName", f"delay-{way}", str(port))

    @contextlib.contextmanager
    def resetting(self) -> Iterator[None]:
        """Meanwhile every connection ends at the first byte that comes back: an open one is closed, a new one reset."""
        for port in self.ports:
            self._cli("toxic", "add", "--type", "reset_peer", "--toxicName", "reset", "-a", "timeout=0", str(port))
        yield
        for port in self.ports:
            self._cli("toxic", "remove", "--toxicName", "reset", str(port))

    def _listens(self) -> bool:
        assert self.server.running, self.server.said()
        command = self.namespace.command(toxiproxy("cli"), "--host", f"http://{API}", "list")
        return subprocess.run(command, capture_output=True, timeout=5, check=False).returncode == 0

    def _cli(self, *arguments: str) -> None:
        self.namespace.run(toxiproxy("cli"), "--host", f"http://{API}", *arguments)
