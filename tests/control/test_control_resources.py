"""What nodes say of their machines: shown where it can be, refused where it arrives where it cannot."""

import math

import pytest

from orchestrator.api.seams import NodeView
from orchestrator.control.observations import Observations
from orchestrator.control.parts import node_views, running_parts
from protos.link.v1 import link_pb2

GIB = 1 << 30


def machine(**said: object) -> link_pb2.Machine:
    given = {"architecture": "aarch64", "kernel": "6.1", "system": "Debian", "cpus": 4, "memory_bytes": 4 * GIB,
             "disk_bytes": 64 * GIB} | said  # fmt: skip
    return link_pb2.Machine(**given)  # type: ignore[arg-type]


def usage(**said: object) -> link_pb2.Usage:
    given = {"sample": 1, "cpu_share": 0.5, "memory_available_bytes": GIB, "agent_bytes": 64 << 20,
             "disk_free_bytes": GIB, "temperature_c": 50.0} | said  # fmt: skip
    return link_pb2.Usage(**given)  # type: ignore[arg-type]


def report(seen: Observations, now_s: float, machine: link_pb2.Machine | None, usage: link_pb2.Usage | None) -> None:
    hello = link_pb2.NodeHello(node="n1", site="s1", epoch=1, machine=machine)
    state = link_pb2.NodeState(hello=hello, report=link_pb2.NodeReport(usage=usage), attached=True)
    seen.front_reported("f", link_pb2.FrontReport(nodes=[state]), now_s)  # type: ignore[arg-type]


def seeing(machine: link_pb2.Machine | None, usage: link_pb2.Usage | None) -> Observations:
    seen = Observations()
    seen.front_attached(link_pb2.FrontHello(front="f", region="local"), 100.0)
    report(seen, 100.0, machine, usage)
    return seen


def view(seen: Observations, now_s: float = 100.0) -> NodeView:
    (found,) = node_views(seen, now_s)
    return found


def refusals(seen: Observations) -> list[tuple[str, str]]:
    return [(part.name, part.detail) for part in running_parts(seen, "", 100.0, {}) if part.kind == "resources"]


def test_what_a_node_says_is_shown_with_its_age() -> None:
    coral = link_pb2.Accelerator(kind="edgetpu", name="Coral", device="/dev/apex_0")
    seen = seeing(machine(accelerators=[coral]), usage())
    shown = view(seen, 130.0)
    assert shown.machine is not None
    assert [one.device for one in shown.machine.accelerators] == ["/dev/apex_0"]
    assert shown.usage is not None
    assert (shown.usage.age_s, shown.usage.cpu_share, shown.usage.temperature_c) == (30.0, 0.5, 50.0)
    report(seen, 140.0, machine(), usage())  # a front repeats what it has
    again = view(seen, 150.0).usage
    assert again is not None
    assert again.age_s == 50.0
    report(seen, 160.0, machine(), usage(sample=2))
    newer = view(seen, 161.0).usage
    assert newer is not None
    assert newer.age_s == 1.0
    assert refusals(seen) == []


def test_an_older_agent_and_a_machine_without_sensors_say_less() -> None:
    assert (view(seeing(None, None)).machine, view(seeing(None, usage())).usage) == (None, None)
    bare = usage()
    bare.ClearField("temperature_c")
    shown = view(seeing(machine(), bare)).usage
    assert shown is not None
    assert shown.temperature_c is None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"cpus": 0}, "cpus 0 is not 1 to"),
        ({"cpus": 2**32 - 1}, "cpus 4294967295 is not 1 to"),
        ({"memory_bytes": 0}, "memory_bytes 0 is not 1 to"),
        ({"memory_bytes": 2**63}, "memory_bytes"),
        ({"disk_bytes": 2**64 - 1}, "disk_bytes"),
        ({"kernel": "x" * 300}, "kernel has 300 characters"),
        ({"system": "clear\x1b[2J"}, "system has 9 characters or some that cannot be printed"),
        ({"accelerators": [link_pb2.Accelerator(name="\n")]}, "accelerators.0.name"),
        ({"accelerators": [link_pb2.Accelerator()] * 65}, "accelerators has 65 entries"),
    ],
)
def test_an_impossible_machine_is_refused_and_shown(said: dict[str, object], reason: str) -> None:
    seen = seeing(machine(**said), usage())
    assert (view(seen).machine, view(seen).usage) == (None, None)
    ((name, detail),) = refusals(seen)
    assert name == "node n1"
    assert reason in detail


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"cpu_share": math.nan}, "cpu_share nan is not 0 to 1"),
        ({"cpu_share": -0.1}, "cpu_share -0.1"),
        ({"cpu_share": math.inf}, "cpu_share inf"),
        ({"memory_available_bytes": 5 * GIB}, "memory_available_bytes 5368709120 is more than"),
        ({"agent_bytes": 2**63}, "agent_bytes"),
        ({"replicas_bytes": 5 * GIB}, "replicas_bytes"),
        ({"disk_free_bytes": 65 * GIB}, "disk_free_bytes"),
        ({"temperature_c": 5000.0}, "temperature_c 5000 is not -100 to 200"),
        ({"temperature_c": math.nan}, "temperature_c nan"),
    ],
)
def test_an_impossible_usage_is_refused_and_the_machine_stays(said: dict[str, object], reason: str) -> None:
    seen = seeing(machine(), usage())
    report(seen, 101.0, machine(), usage(**{"sample": 2, **said}))
    assert view(seen).machine is not None
    assert view(seen).usage is None, "what came before is no longer so"
    ((_, detail),) = refusals(seen)
    assert reason in detail
