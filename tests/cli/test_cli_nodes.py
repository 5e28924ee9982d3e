"""Nodes are looked at like objects, and changed by verbs of their own."""

import asyncio
import json

import pytest
import yaml

from orchestrator.control.statuses import condition
from orchestrator.model.ids import NodeName
from orchestrator.model.nodes import Schedule
from orchestrator.model.stored import Key, Owner, StoredObject
from tests.api.fake_control import RunningControl
from tests.cli.conftest import Skerry

pytestmark = pytest.mark.real  # a gRPC server on loopback in each test

NODE = "apiVersion: skerry.dev/v1alpha1\nkind: Node\nmetadata: {name: harbour-c}\nspec: {site: harbour}\n"


@pytest.mark.parametrize("word", ["nodes", "node", "Node", "no"])
def test_nodes_are_listed_attached_and_silent(skerry: Skerry, running: RunningControl, word: str) -> None:
    head, first, second = skerry("get", word).out.splitlines()
    assert head.split() == ["NAME", "SITE", "FRONT", "PHASE", "SILENT", "REPLICAS", "MEMORY", "CORES", "LAN"]
    shown = [" ".join(line.split()) for line in (first, second)]
    assert shown == [
        "harbour-a harbour front-0 unknown 12s 0/1 1.0 GiB 4 127.0.0.1:9001",
        "harbour-b harbour front-0 attached - 1/2 512.0 MiB 1.5 -",
    ]


def test_nodes_in_every_form(skerry: Skerry, running: RunningControl) -> None:
    assert skerry("get", "nodes", "-o", "wide").out.splitlines()[2].split()[-1] == "r-2,r-3"
    assert skerry("get", "nodes", "-o", "name").out == "node/harbour-a\nnode/harbour-b\n"
    many = json.loads(skerry("get", "nodes", "-o", "json").out)
    assert (many["kind"], len(many["items"])) == ("List", 2)
    one = json.loads(skerry("get", "node/harbour-a", "-o", "json").out)
    assert one == yaml.safe_load(skerry("get", "node", "harbour-a", "-o", "yaml").out) == many["items"][0]
    assert one["status"] == {
        "phase": "unknown",
        "silent_s": 12.0,
        "site": "harbour",
        "front": "front-0",
        "lan_address": "127.0.0.1:9001",
        "memory_bytes": 1 << 30,
        "cores": 4.0,
        "replicas": [{"replica": "r-1", "phase": "unknown", "reason": ""}],
        "machine": None,
        "usage": None,
    }


def test_what_a_node_is_made_of_and_uses_is_shown(skerry: Skerry, running: RunningControl) -> None:
    wide = [" ".join(line.split()) for line in skerry("get", "nodes", "-o", "wide").out.splitlines()]
    assert wide[0].endswith("LAN ARCH CPU AVAILABLE DISK-FREE TEMP ACCELERATORS LABELS HOLDS")
    assert wide[1].endswith("127.0.0.1:9001 - - - - - - - r-1"), "an older agent tells nothing of it"
    assert wide[2].endswith("- aarch64 25% 3.0 GiB 40.0 GiB 51C edgetpu - r-2,r-3")
    status = json.loads(skerry("get", "node/harbour-b", "-o", "json").out)["status"]
    assert status["machine"]["accelerators"] == [
        {"kind": "edgetpu", "name": "Coral Edge TPU (apex)", "device": "/dev/apex_0"}
    ]
    assert (status["usage"]["cpu_share"], status["usage"]["temperature_c"]) == (0.25, 51.0)
    told = " ".join(skerry("describe", "node", "harbour-b").out.split())
    assert "Machine: Debian GNU/Linux 12, aarch64, kernel 6.1.21, 4 cpus" in told
    assert "Devices: Coral Edge TPU (apex) at /dev/apex_0" in told
    assert "cpu 25%, memory 3.0 GiB of 4.0 GiB available, disk 40.0 GiB of 64.0 GiB free" in told
    assert "Machine: not told" in " ".join(skerry("describe", "node", "harbour-a").out.split())


def test_one_node_is_described_with_what_it_holds_and_its_legs(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("describe", "node", "harbour-b")
    assert ran.code == 0, ran.err
    words = " ".join(ran.out.split())
    for wanted in (
        "Name: harbour-b Site: harbour Front: front-0 Phase: attached",
        "REPLICA PHASE REASON r-2 ready - r-3 fetching 40 of 96 MiB",
        "site/harbour -> front/front-0 3s rtt p50 12.0 p99 18.5 ms",
    ):
        assert wanted in words
    assert "r-1" not in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("get", "node/none"), 1, "node none: no front has reported it: `skerry get nodes` lists those"),
        (("describe", "node/none"), 1, "node none: no front has reported it"),
        (("get", "node/"), 2, "names no node"),
        (("get", "node/a", "b"), 2, "names no node"),
        (("describe", "nodes"), 2, "names no object"),
        (("get", "nodes", "-w"), 2, "`skerry status --watch` goes on"),
        (("apply", "-f", "-"), 1, "standard input:2: kind: 'Node': a node registers itself and is not applied"),
        (("cordon", "none"), 1, "Node none: there is none"),
        (("drain", "harbour-a", "--timeout", "soon"), 2, "--timeout 'soon' is no duration"),
    ],
)
def test_what_cannot_be_done_with_a_node_says_why(
    skerry: Skerry, running: RunningControl, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ran = skerry(*arguments, stdin=NODE.encode())
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


def test_a_cordoned_node_is_shown_so_and_takes_part_again(skerry: Skerry, running: RunningControl) -> None:
    assert skerry("cordon", "harbour-b").out == "node/harbour-b cordoned\n"
    assert skerry("get", "nodes").out.splitlines()[2].split()[3] == "attached,cordoned"
    one = json.loads(skerry("get", "node/harbour-b", "-o", "json").out)
    assert one["spec"] == {"site": "harbour", "unschedulable": True, "draining": False}
    assert skerry("uncordon", "harbour-b").out == "node/harbour-b uncordoned\n"
    assert skerry("get", "nodes").out.splitlines()[2].split()[3] == "attached"


def test_a_drain_is_followed_to_its_end(skerry: Skerry, running: RunningControl) -> None:
    def obey(call: str) -> None:
        if call == "watch":  # it is followed now
            key = Key("Node", "", "harbour-b")
            drained = condition("Drained", True, "Empty", "it holds no replica")
            stored = running.control.objects[key]
            task = running.control.put(key, stored.spec, {"conditions": [drained]}, Owner.CONTROL)
            obeying.append(asyncio.ensure_future(task))

    obeying: list[asyncio.Future[None]] = []
    running.control.before = obey
    ran = skerry("drain", "harbour-b", "--timeout", "20s")
    assert (ran.code, ran.out) == (0, "node/harbour-b drained\n")
    assert ran.err == "node/harbour-b: 1 left: 1 until their successors are ready\n"


def test_a_drain_that_does_not_end_says_what_stands_against_it(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("drain", "harbour-b", "--timeout", "0.5")
    assert ran.code == 3
    assert "node harbour-b is not empty within 0.5: 1 left: 1 until their successors are ready: it goes on" in ran.err
    assert skerry("drain", "harbour-b", "--no-wait").out == "node/harbour-b draining\n"
    words = " ".join(skerry("describe", "node", "harbour-b").out.split())
    assert "Phase: attached,draining" in words
    assert "Drained False HandingOver 1 left" in words


def test_a_drain_that_somebody_ends_is_told(skerry: Skerry, running: RunningControl) -> None:
    def uncordon(call: str) -> None:
        if call == "watch":
            ending.append(
                asyncio.ensure_future(running.control.schedule_node(NodeName("harbour-b"), Schedule.UNCORDON))
            )

    ending: list[asyncio.Future[StoredObject]] = []
    running.control.before = uncordon
    ran = skerry("drain", "harbour-b", "--timeout", "20s")
    assert ran.code == 1
    assert "node harbour-b does not drain any more: it was uncordoned" in ran.err


def test_nodes_are_chosen_by_label_and_forgotten(skerry: Skerry, running: RunningControl) -> None:
    assert skerry("get", "nodes", "-l", "a=b").err == "no nodes found\n"
    skerry("cordon", "harbour-b")
    assert skerry("delete", "node/harbour-b").out == "node/harbour-b deleted\n"
    assert Key("Node", "", "harbour-b") not in running.control.objects


def test_no_nodes_are_no_error(skerry: Skerry, running: RunningControl) -> None:
    running.control.nodes = ()
    ran = skerry("get", "nodes")
    assert (ran.code, ran.out, ran.err) == (0, "", "no nodes found\n")
