"""apply, get, describe, delete, status, explain and logs against a real server over a fake control plane."""

import json
import re
import threading
from pathlib import Path

import pytest
import yaml

from orchestrator.cli.client import ControlClient
from orchestrator.cli.following import follow
from orchestrator.errors import InvalidRequest
from orchestrator.model.stored import Json, JsonObject, Key, Owner
from tests.api.fake_control import RunningControl
from tests.cli.conftest import Skerry
from tests.cli.manifests import JOB, SERVICE, SITE, ZONE

pytestmark = pytest.mark.real  # a gRPC server on loopback in each test

ZONE_KEY = Key("Zone", "", "plant")
SERVICE_KEY = Key("ModelService", "default", "digits")
READY = {"type": "Ready", "status": "True", "reason": "AllReady", "message": "2 of 2"}
SERVICE_STATUS = {
    "phase": "ready",
    "version": "digits-v1",
    "decision": "d-1",
    "replicas": [
        {
            "replica": "r-1",
            "site": "harbour",
            "node": "harbour-a",
            "phase": "ready",
            "version": "digits-v1",
            "reason": "",
        },
        {
            "replica": "r-2",
            "site": "harbour",
            "node": "harbour-b",
            "phase": "starting",
            "version": "digits-v1",
            "reason": "",
        },
    ],
    "conditions": [READY],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "manifests"
    (found / "deep").mkdir(parents=True)
    (found / "a.yaml").write_text(f"{ZONE}---\n{SITE}")
    (found / "deep" / "b.yml").write_text(SERVICE)
    (found / "notes.txt").write_text("not an object")
    return found


def test_apply_a_folder_then_a_file_again(skerry: Skerry, running: RunningControl, folder: Path) -> None:
    ran = skerry("apply", "-f", str(folder))
    assert ran.code == 0, ran.err
    assert ran.out == "zone/plant created\nsite/harbour created\nmodelservice/digits created\n"
    again = skerry("apply", "-f", str(folder / "a.yaml"), "-o", "name")
    assert again.out == "zone/plant\nsite/harbour\n"
    assert skerry("apply", "-f", "-", stdin=ZONE.encode()).out == "zone/plant unchanged\n"


def test_a_dry_run_says_so_and_writes_nothing(skerry: Skerry, running: RunningControl, folder: Path) -> None:
    assert skerry("apply", "-f", str(folder / "a.yaml"), "--dry-run").out.startswith("zone/plant created (dry run)\n")
    assert running.control.objects == {}


def test_a_warning_goes_to_standard_error(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("apply", "-f", "-", stdin=ZONE.replace("plant", "far").encode())
    assert (ran.code, ran.err) == (0, "warning: zone/far: no site is near enough\n")


def test_what_get_prints_can_be_applied(skerry: Skerry, running: RunningControl, folder: Path) -> None:
    skerry("apply", "-f", str(folder))
    printed = skerry("get", "all", "-A", "-o", "yaml").out
    assert yaml.safe_load(printed)["kind"] == "List"
    ran = skerry("apply", "-f", "-", stdin=printed.encode())
    assert (ran.code, ran.out.count("unchanged")) == (0, 3), ran.err


BAD_FILES = {
    "unknown field": (ZONE.replace("region", "regoin").encode(), r":4: spec\.regoin: 'local'.*did you mean region"),
    "wrong type": (
        SERVICE.replace("rate_rps: 10", "rate_rps: fast").encode(),
        r":7: spec\.demand\.0\.rate_rps: 'fast'",
    ),
    "unknown kind": (ZONE.replace("Zone", "Zome").encode(), r":2: kind: 'Zome'.*did you mean Zone"),
    "broken yaml": (b"a: [1, 2\nb: }", r":2: "),
    "binary": (bytes(range(256)) * 40, "no UTF-8 text"),
    "text in an old encoding": ("kind: Zürich".encode("latin-1"), "byte 7 is no UTF-8 text"),
    "huge": (b"a: " + b"x" * (1 << 20), "larger than"),
    "empty": (b"", "holds no object"),
    "only comments": (b"# nothing\n---\n", "holds no object"),
    "a list": (b"[1, 2]", "write an object"),
    "alias bomb": (
        b"a: &a [x, x]\n"
        + b"".join(
            b"%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c]\n"
            % (98 + i, 98 + i, 97 + i, 97 + i, 97 + i, 97 + i, 97 + i, 97 + i)
            for i in range(12)
        ),
        "aliases expand",
    ),
}


@pytest.mark.parametrize(("raw", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused_by_name_and_line(
    skerry: Skerry, running: RunningControl, tmp_path: Path, raw: bytes, message: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(raw)
    ran = skerry("apply", "-f", str(path))
    assert (ran.code, ran.out) == (1, "")
    assert re.search(message, ran.err), ran.err
    assert ran.err.startswith(f"skerry: {path}")
    assert (ran.err.count("\n"), "Traceback" in ran.err) == (1, False)
    assert running.control.objects == {}


def test_missing_files_and_folders_are_refused(skerry: Skerry, running: RunningControl, tmp_path: Path) -> None:
    assert "no such file" in skerry("apply", "-f", str(tmp_path / "none.yaml")).err
    assert "holds no .yaml" in skerry("apply", "-f", str(tmp_path)).err
    assert skerry("apply").code == 2
    assert "not a file" in skerry("apply", "-f", "/dev/zero").err


def test_the_second_of_two_documents_is_named_by_its_line(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("apply", "-f", "-", stdin=f"{ZONE}---\n{SITE.replace('edge', 'moon')}".encode())
    assert "standard input:9: spec.kind: 'moon'" in ran.err
    assert running.control.objects == {}


def test_all_that_is_wrong_in_a_folder_is_told_at_once(skerry: Skerry, running: RunningControl, folder: Path) -> None:
    bad = folder / "bad.yaml"
    bad.write_text(f"{SITE.replace('edge', 'moon').replace('EU', 'E U')}---\n{ZONE.replace('region', 'regoin')}")
    (folder / "broken.yaml").write_text("a: [1\n")
    (folder / "old.yaml").write_bytes("kind: Zürich".encode("latin-1"))
    ran = skerry("apply", "-f", str(folder))
    assert (ran.code, ran.out, running.control.objects) == (1, "", {})
    head, *told = ran.err.splitlines()
    assert head == "skerry: 5 problems, nothing was changed:"
    assert [line.split(": ")[:2] for line in told] == [
        [f"  {bad}:4", "spec.kind"],
        [f"  {bad}:4", "spec.jurisdiction"],
        [f"  {bad}:9", "spec.regoin"],
        [f"  {folder / 'broken.yaml'}:2", "\"did not find expected ',' or ']'\""],
        [f"  {folder / 'old.yaml'}", "byte 7 is no UTF-8 text"],
    ]
    again = skerry("apply", "-f", str(bad))
    assert again.err.splitlines()[1:] == told[:3]


def test_a_list_names_the_lines_of_its_items(skerry: Skerry, running: RunningControl) -> None:
    items = "".join(f"- {one}".replace("\n", "\n  ").rstrip() + "\n" for one in (ZONE, SITE.replace("edge", "moon")))
    ran = skerry("apply", "-f", "-", stdin=f"kind: List\nitems:\n{items}".encode())
    assert ran.err.startswith("skerry: standard input:10: spec.kind: 'moon'"), ran.err
    lost = skerry("apply", "-f", "-", stdin=f"kind: List\nitems:\n- 7\n{items}".encode())
    assert "standard input:3: items.0: 7: write an object: " in lost.err
    assert "standard input:11: spec.kind: 'moon'" in lost.err
    assert running.control.objects == {}


def test_what_the_control_plane_finds_wrong_is_told_line_by_line(skerry: Skerry, running: RunningControl) -> None:
    """Another release may refuse what this one accepts."""

    def refuse(call: str) -> None:
        raise InvalidRequest("spec.a", 1, "no", [InvalidRequest("spec.b", 2, "no")])

    running.control.before = refuse
    ran = skerry("apply", "-f", "-", stdin=ZONE.encode())
    assert ran.err == "skerry: 2 problems, nothing was changed:\n  spec.a: 1: no\n  spec.b: 2: no\n"


def test_an_object_of_another_owner_is_refused(skerry: Skerry, running: RunningControl) -> None:
    running.do(running.control.put(Key("Zone", "", "plant"), {"region": "x"}, owner=Owner.OPERATOR))
    ran = skerry("apply", "-f", "-", stdin=ZONE.encode())
    assert (ran.code, "managed by operator" in ran.err) == (1, True)


def test_get_in_every_form(skerry: Skerry, running: RunningControl, folder: Path) -> None:
    skerry("apply", "-f", str(folder))
    running.do(running.control.put(SERVICE_KEY, running.control.objects[SERVICE_KEY].spec, SERVICE_STATUS))
    for word in ("svc", "services", "ModelService", "MODELSERVICES", "svc/digits"):
        lines = skerry("get", word).out.splitlines()
        assert lines[0].split() == ["NAME", "READY", "PHASE", "VERSION", "REPLICAS", "SITES", "HELD", "AGE"]
        assert lines[1].split()[:6] == ["digits", "True", "ready", "digits-v1", "1/2", "harbour"]
    held = {"type": "Stable", "status": "False", "reason": "Flapping", "message": "it went back and forth"}
    conditions = [*SERVICE_STATUS["conditions"], held]
    running.do(
        running.control.put(
            SERVICE_KEY, running.control.objects[SERVICE_KEY].spec, SERVICE_STATUS | {"conditions": conditions}
        )
    )
    assert skerry("get", "svc").out.splitlines()[1].split()[6] == "flapping"
    assert "POLICY" in skerry("get", "svc", "-o", "wide").out
    assert skerry("get", "svc", "-o", "name").out == "modelservice/digits\n"
    one = json.loads(skerry("get", "svc", "digits", "-o", "json").out)
    assert (one["kind"], one["spec"]["policy"]) == ("ModelService", "line")
    many = json.loads(skerry("get", "svc", "-o", "json").out)
    assert (many["kind"], len(many["items"])) == ("List", 1)
    assert yaml.safe_load(skerry("get", "svc/digits", "-o", "yaml").out) == one
    assert skerry("get", "sites").out.splitlines()[1].split()[:4] == ["harbour", "edge", "EU", "harbour"]


def test_get_by_label_and_namespace(skerry: Skerry, running: RunningControl, folder: Path) -> None:
    skerry("apply", "-f", str(folder))
    skerry("apply", "-f", "-", stdin=SERVICE.replace("digits}", "digits, namespace: plant-7}").encode())
    assert skerry("get", "zones", "-l", "team=vision", "-o", "name").out == "zone/plant\n"
    none = skerry("get", "zones", "-l", "team=ops")
    assert (none.code, none.out, none.err) == (0, "", "no zones found\n")
    assert len(skerry("get", "svc", "-o", "name").out.splitlines()) == 1
    everywhere = skerry("get", "svc", "-A").out.splitlines()
    assert everywhere[0].startswith("NAMESPACE")
    assert [line.split()[0] for line in everywhere[1:]] == ["default", "plant-7"]
    # With what belongs to the whole installation, but nothing of other namespaces.
    every = skerry("get", "all", "-n", "plant-7", "-o", "name").out.splitlines()
    assert every == ["modelservice/digits", "site/harbour", "zone/plant"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("get", "teapots"), "there is no kind 'teapots': use one of sites"),
        (("get", "svc/"), "names no object"),
        (("get", "svc/a", "b"), "names no object"),
        (("get", "svc", "-l", "team"), "is no label"),
        (("get", "svc", "digits", "-A"), "needs no -A"),
        (("describe", "svc"), "names no object"),
        (("delete",), "give KIND NAME, or -f FILE"),
        (("delete", "svc", "a", "-f", "x"), "too much"),
        (("wait", "svc/a", "--for", "magic"), "--for 'magic' is unknown"),
        (("wait", "svc/a", "--for", "delete", "--timeout", "soon"), "is no duration"),
        (("get", "svc", "-o", "xml"), "xml"),
        (("completion", "tcsh"), "give one of bash"),
        (("train",), "give either -f FILE or --model NAME"),
        (("serve", "digits.tflite"), "give NAME=PATH"),
        (("frobnicate",), "No such command"),
    ],
)
def test_wrong_usage_is_code_2_with_a_remedy(
    skerry: Skerry, running: RunningControl, arguments: tuple[str, ...], message: str
) -> None:
    ran = skerry(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_a_missing_object_is_code_1(skerry: Skerry, running: RunningControl) -> None:
    for verb in ("get", "describe", "delete"):
        ran = skerry(verb, "svc", "nowhere")
        assert (ran.code, "default/nowhere" in ran.err) == (1, True), verb


def test_delete_one_and_by_file(skerry: Skerry, running: RunningControl, folder: Path) -> None:
    skerry("apply", "-f", str(folder))
    assert skerry("delete", "svc/digits").out == "modelservice/digits deleted\n"
    ran = skerry("delete", "-f", str(folder), "--ignore-not-found")
    assert (ran.code, ran.out) == (0, "site/harbour deleted\nzone/plant deleted\n")
    assert running.control.objects == {}


def test_describe_shows_status_changes_and_placement(skerry: Skerry, running: RunningControl) -> None:
    skerry("apply", "-f", "-", stdin=SERVICE.encode())
    spec = running.control.objects[SERVICE_KEY].spec
    running.do(running.control.put(SERVICE_KEY, spec, {"phase": "pending"}))
    running.do(running.control.put(SERVICE_KEY, spec, SERVICE_STATUS))
    ran = skerry("describe", "service", "digits")
    assert ran.code == 0, ran.err
    for wanted in (
        "Kind:        ModelService",
        "policy: line",
        "harbour-b",
        "AllReady",
        "revision 1 by command: created",
        "revision 2 by control: status.phase: - -> pending",
        "status.phase: pending -> ready",
        "Refused",
        "raise latency.p99_ms to 61",
    ):
        assert wanted in ran.out


def test_describe_says_who_changed_what(skerry: Skerry, running: RunningControl) -> None:
    skerry("apply", "-f", "-", stdin=ZONE.encode())
    running.do(running.control.put(ZONE_KEY, {"region": "local"}, {"phase": "Ready"}))
    skerry("apply", "-f", "-", stdin=ZONE.replace("local", "far").encode())
    skerry("apply", "-f", "-", stdin=ZONE.replace("local", "far").replace("vision", "sound").encode())
    running.do(running.control.delete(ZONE_KEY, Owner.COMMAND, None))
    skerry("apply", "-f", "-", stdin=ZONE.encode())
    told = skerry("describe", "zone/plant").out.partition("Recent changes:\n")[2]
    assert [line.strip() for line in told.splitlines()] == [
        "revision 1 by command: created",
        "revision 2 by control: status.phase: - -> Ready",
        "revision 3 by command: spec.region: local -> far",
        "revision 4 by command: labels.team: vision -> sound",
        "revision 4: deleted",
        "revision 6 by command: created",
    ]


def test_describe_shows_a_jobs_confusion_as_a_table(skerry: Skerry, running: RunningControl) -> None:
    skerry("apply", "-f", "-", stdin=JOB.encode())
    key = Key("TrainingJob", "default", "digits-1")
    counts: list[Json] = [[30, 0, 2], [1, 40, 0], [0, 0, 27]]
    evaluation: Json = {"accuracy": 0.97, "confusion": counts}
    status: JsonObject = {"phase": "Succeeded", "result": {"evaluation": evaluation}}
    running.do(running.control.put(key, running.control.objects[key].spec, status))
    shown = skerry("describe", "job/digits-1").out
    assert "- - 30" not in shown
    assert "accuracy: 0.97" in shown
    assert (
        """\
Confusion (label by answer):
  97 of 100 right; most often taken: 0 for 2 (2), 1 for 0 (1)

  LABEL   0    1    2
  0       30   .    2
  1       1    40   .
  2       .    .    27
"""
        in shown
    )
    whole = json.loads(skerry("get", "job/digits-1", "-o", "json").out)
    assert whole["status"]["result"]["evaluation"]["confusion"] == counts


def test_describe_after_the_log_was_compacted(skerry: Skerry, running: RunningControl) -> None:
    skerry("apply", "-f", "-", stdin=ZONE.encode())
    running.control.compacted = 99
    ran = skerry("describe", "zone/plant")
    assert (ran.code, "the change log holds none any more" in ran.out) == (0, True)


def test_status_in_every_form(skerry: Skerry, running: RunningControl) -> None:
    lines = skerry("status").out.splitlines()
    assert lines[0] == "skerry 0.1.0, epoch 7, led by host-1, decision d-1, change 0"
    assert lines[1].split() == ["PART", "NAME", "PHASE", "AGE", "DETAIL"]
    assert lines[4].split() == ["node", "harbour-a", "unknown", "12s", "silent", "for", "12", "s"]
    assert json.loads(skerry("status", "-o", "json").out)["epoch"] == 7
    assert yaml.safe_load(skerry("status", "-o", "yaml").out)["parts"][0]["name"] == "leader"
    assert skerry("status", "-o", "name").out.splitlines()[1] == "front/front-0"


def test_explain_shows_sites_legs_margins_and_remedies(skerry: Skerry, running: RunningControl) -> None:
    skerry("apply", "-f", "-", stdin=SERVICE.encode())
    ran = skerry("explain", "digits")
    assert ran.code == 0, ran.err
    words = " ".join(ran.out.split())
    for wanted in (
        "Decision d-1, 3s old",
        "harbour edge 2 litert-int8 18.5 ms 10 local 42.5 ms",
        "harbour: preferred, 18.5 ms (kept: moving gains too little)",
        "plant 75% harbour 18.5 ms (15..25) relay: front/front-0 ──▶ site/harbour p50 12 p99 18.5 ms",
        "p99 18.5 ms (17..24), 8/20 Mbit/s, 0.4 s old",
        "local plant too-slow 61 ms 40 ms local: raise latency.p99_ms to 61",
        "plant 25% local too-slow 61 ms 40 ms",
    ):
        assert wanted in words
    assert "\x1b" not in ran.out
    found = json.loads(skerry("explain", "digits", "-o", "json").out)
    assert (found["decision"], found["placement"]["chosen"][0]["site"]) == ("d-1", "harbour")
    assert "No replica at local." in skerry("explain", "digits", "--site", "local").out
    assert ("Held" in ran.out, found["held"]) == (False, "")
    running.control.held = "in force is [plant]: the placement went back and forth"
    assert f"Held: {running.control.held}" in skerry("explain", "digits").out


def test_logs_once_and_followed(skerry: Skerry, running: RunningControl) -> None:
    skerry("apply", "-f", "-", stdin=JOB.encode())
    assert skerry("logs", "job/digits-1").out == "epoch 1\nepoch 2\n"
    assert skerry("logs", "job/none").code == 1


def test_watching_goes_on_over_a_compaction(running: RunningControl) -> None:
    """The watch sees a put, loses its place in the log, and is told what it missed."""
    key = Key("Zone", "", "plant")
    running.do(running.control.put(key, {"region": "a"}))
    seen: list[str] = []
    first = threading.Event()

    def look() -> None:
        with ControlClient(running.address) as client:
            for change in follow(client, client.list_objects("Zone", ""), "Zone", "", None):
                seen.append(change.type)
                first.set()
                if change.type == "delete":
                    return

    watcher = threading.Thread(target=look)
    watcher.start()

    async def compact() -> None:
        running.control.compacted = len(running.control.log) + 1
        await running.control.put(key, {"region": "never seen"})
        await running.control.delete(key, Owner.COMMAND, None)

    while not first.wait(0.05):  # until the watch is certainly there
        running.do(running.control.put(key, {"region": "b"}))
    running.do(compact())
    watcher.join(10)
    assert seen[-1] == "delete"
