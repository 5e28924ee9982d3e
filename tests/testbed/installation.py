"""Skerry on a testbed: its control plane and front in the cloud, agents on nodes, each a real process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testbed.namespaces import Namespace
from tests.testbed.network import CLOUD, Network, Site
from tests.testbed.processes import Program, Programs, until
from tests.testbed.tools import ROOT

MODEL = ROOT / "tests" / "models" / "digits-fp32.tflite"
FRONT = "front-0"
CONTROL, GATEWAY = "127.0.0.1:7070", "127.0.0.1:8001"
LINK, ENROLMENT = 7071, 7072
LAN = "127.0.0.1:9001"
COMMAND_LIMIT_S = 60.0
PLACES = """
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: local}
spec: {kind: region, jurisdiction: EU, quota: {memory_mib: 1, cores: 0.001}}
---
apiVersion: skerry.dev/v1alpha1
kind: Zone
metadata: {name: city}
spec: {region: local}
"""
SITE = """
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: %(site)s}
spec: {kind: edge, jurisdiction: EU}
---
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: at-%(site)s}
spec: {required: ["site.name == '%(site)s'"], replicas: {min: 1, max: 1}, disconnect: {lost_after_s: 600}}
"""
SERVICE = """
---
apiVersion: skerry.dev/v1alpha1
kind: ModelService
metadata: {name: %(name)s}
spec:
  model: %(model)s
  policy: at-%(site)s
  demand: [{zone: city, rate_rps: 5, request_bytes: 400, response_bytes: 300}]
"""


def site_documents(site: str) -> str:
    """An edge site, and a policy for one replica there."""
    return SITE % {"site": site}


def service_document(name: str, site: str, model: str = "digits") -> str:
    """A service with one replica at this site."""
    return SERVICE % {"name": name, "site": site, "model": model}


@dataclass(slots=True)
class Agent:
    """One node's agent; its state folder outlives its process."""

    programs: Programs
    node: str
    namespace: Namespace
    state_dir: Path
    environ: dict[str, str] = field(default_factory=dict)
    program: Program | None = None
    joining_at_s: float = 0.0  # when `join` was started, by time.monotonic()

    @property
    def running(self) -> Program:
        assert self.program, f"agent {self.node} was not started"
        return self.program

    def join(self, token: str, *more: str) -> None:
        """`skerry-edge join`, which goes on to serve."""
        self.joining_at_s = time.monotonic()
        door = (f"{CLOUD}:{ENROLMENT}", "--node", self.node, "--lan", LAN, "--memory-mib", "256")
        self._start("join", *door, *more, environ={"SKERRY_TOKEN": token})

    def start(self, *more: str) -> None:
        """`skerry-edge run`, of a machine that has joined."""
        self._start("run", *more)

    def _start(self, verb: str, *more: str, environ: Mapping[str, str] | None = None) -> None:
        command = (sys.executable, "-m", "workers.edge.command", verb, "--state-dir", str(self.state_dir))
        given = {**self.environ, **(environ or {})}
        self.program = self.programs.start(
            self.namespace, self.node, *command, "--probe-interval-s", "0.2", *more, environ=given
        )

    def command(self, *arguments: str) -> str:
        """What `skerry-edge` prints, whatever its exit code."""
        command = self.namespace.command(sys.executable, "-m", "workers.edge.command", *arguments)
        done = subprocess.run(
            [*command, "--state-dir", str(self.state_dir)],
            cwd=ROOT,
            env=os.environ | self.environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        """What the process that runs now has written; empty: nothing yet."""
        path = self.state_dir / "status.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found if found.get("process") == self.running.pid else {}

    def loads(self) -> dict[str, str]:
        """The incarnation of each replica that is ready."""
        return {r["replica"]: r["incarnation"] for r in self.status().get("replicas", []) if r["phase"] == "ready"}

    def attached(self) -> bool:
        return bool(self.status().get("link") == "attached")

    def answered_at_s(self, service: str, limit_s: float = 20.0) -> float:
        """By a caller on the node itself; by time.monotonic()."""
        return answered_at_s(self.namespace, LAN, service, limit_s)


@dataclass(slots=True)
class Installation:
    """What stands in the cloud."""

    net: Network
    folder: Path
    control: Program | None = None
    front: Program | None = None

    @property
    def environ(self) -> dict[str, str]:
        return {
            "SKERRY_HOME": str(self.folder / "cloud"),
            "SKERRY_CONTROL": CONTROL,
            "SKERRY_GATEWAY": GATEWAY,
            "SKERRY_LINK": f"{CLOUD}:{LINK}",
            "SKERRY_ENROLMENT": f"{CLOUD}:{ENROLMENT}",
            "SKERRY_HOSTS": CLOUD,
            "SKERRY_ZONE": "city",
        }

    def start_control(self) -> Program:
        self.control = self._start("control", "control plane serves", sys.executable, "-m", "tests.testbed.plane")
        return self.control

    def start_all(self) -> Program:
        """`skerry up`: the control plane in Ray Serve, and a front that it supervises."""
        command = (str(Path(sys.executable).parent / "skerry"), "up")
        self.control = self._start("up", "control ready", *command, limit_s=120)
        return self.control

    def start_front(self) -> Program:
        cloud = self.folder / "cloud"
        self.front = self._start(
            "front",
            "front is serving",
            *(sys.executable, "-m", "orchestrator.front", "--name", FRONT, "--zone", "city"),
            *("--control", CONTROL, "--gateway", GATEWAY, "--link", f"{CLOUD}:{LINK}"),
            *("--enrolment", f"{CLOUD}:{ENROLMENT}", "--identity-dir", str(cloud / "pki" / FRONT)),
            *("--artifacts", str(cloud / "artifacts"), "--state-dir", str(cloud / FRONT), "--heartbeat-s", "1"),
        )
        return self.front

    def _start(self, name: str, ready: str, *command: str, limit_s: float = 30.0) -> Program:
        started = self.net.programs.start(self.net.cloud, name, *command, environ=self.environ)
        started.says(ready, limit_s)
        return started

    def skerry(self, *arguments: str, codes: Sequence[int] = (0,)) -> str:
        """The command, as an operator types it in the cloud."""
        done = subprocess.run(
            self.net.cloud.command(str(Path(sys.executable).parent / "skerry"), *arguments),
            cwd=ROOT,
            env=os.environ | self.environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        assert done.returncode in codes, f"skerry {' '.join(arguments)}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def documents(self, documents: str, verb: str = "apply") -> None:
        """`skerry apply` or `skerry delete` of a file with these."""
        path = self.folder / "documents.yaml"
        path.write_text(documents)
        self.skerry(verb, "-f", str(path))

    def token(self, site: str) -> str:
        made = json.loads(self.skerry("token", "create", "--site", site, "--count", "8", "-o", "json"))
        return str(made["secret"])

    def agent(self, site: Site, index: int = 0) -> Agent:
        """Not joined yet."""
        node = f"{site.name}-{index + 1}"
        return Agent(self.net.programs, node, site.nodes[index], self.folder / node)


def installed(net: Network, folder: Path, site: str, whole: bool = False) -> Installation:
    """Control plane, front, this site, and a service `digits` that waits for a node there.

    `whole`: by `skerry up`, with Ray, which takes half a minute.
    """
    on = Installation(net, folder)
    if whole:
        on.start_all()
    else:
        on.start_control()
        on.start_front()
    on.documents(PLACES + site_documents(site) + service_document("digits", site))
    on.skerry("model", "push", "digits", str(MODEL), "--accuracy", "0.97")
    return on


def serving(agent: Agent, limit_s: float = 30.0) -> None:
    until(f"a replica is ready on {agent.node}", agent.loads, limit_s)


def answered_at_s(namespace: Namespace, address: str, service: str, limit_s: float = 20.0) -> float:
    """When a caller there was answered OK, by time.monotonic(). Fails with the last refusal."""
    command = (sys.executable, "-m", "tests.testbed.caller", address, service, "--until-answered", str(limit_s))
    found = json.loads(namespace.run(*command, limit_s=limit_s + COMMAND_LIMIT_S))
    assert found["answered_at_s"] is not None, f"{service} at {address}: not answered within {limit_s:g} s: {found}"
    return float(found["answered_at_s"])


@dataclass(frozen=True, slots=True)
class Call:
    """`due_s`: by time.monotonic(); `took_s`: from then on; `said`: OK, or the refusal."""

    due_s: float
    took_s: float
    said: str


@dataclass(slots=True)
class Load:
    """Callers at a steady rate, on a node, in a process of their own."""

    program: Program

    @classmethod
    def start(cls, agent: Agent, service: str, callers: int, rate_rps: float, calls: int) -> "Load":
        """Returns when it calls."""
        numbers = ("--callers", str(callers), "--rate-rps", str(rate_rps), "--calls", str(calls))
        command = (sys.executable, "-m", "tests.testbed.caller", LAN, service, *numbers)
        program = agent.programs.start(agent.namespace, "load", *command)
        program.says("calling")
        return cls(program)

    def calls(self, limit_s: float = 60.0) -> list[Call]:
        """All of them, once the last has ended."""
        until("the load ends", lambda: not self.program.running, limit_s)
        made = json.loads(self.program.said().splitlines()[-1])["calls"]
        self.program.log_path.write_text(f"{len(made)} calls\n")  # the rest is too much for a log
        return [Call(*call) for call in made]
