"""wait and train: goals, timeouts, ends, and a control plane that goes away and comes back."""

import json
import threading
import time
from collections.abc import Iterator

import pytest

from orchestrator.cli.client import ControlClient
from orchestrator.cli.failures import BadUsage
from orchestrator.cli.waiting import goal_in, seconds_in
from orchestrator.errors import StoreUnavailable
from orchestrator.model.stored import Key, Owner
from tests.api.fake_control import RunningControl, running_control
from tests.cli.conftest import Skerry
from tests.cli.manifests import JOB, ZONE

KEY = Key("ModelService", "default", "digits")
JOB_KEY = Key("TrainingJob", "default", "digits-1")


def ready(status: str, reason: str = "Starting") -> dict[str, object]:
    return {"conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "1 of 2"}]}


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("90s", 90), ("1.5m", 90), ("2h", 7_200), ("0", 0)])
def test_durations(text: str, seconds: float) -> None:
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1d", "nan", "1e9", "1 m", "99999999"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(BadUsage):
        seconds_in(text)


@pytest.mark.parametrize("text", ["", "phase", "phase=", "condition=", "delete=x", "phase=a=b", "ready"])
def test_what_is_no_goal(text: str) -> None:
    with pytest.raises(BadUsage):
        goal_in(text)


def test_goals_look_at_status_in_any_case() -> None:
    document = {"status": {"phase": "Succeeded", **ready("False")}}
    assert goal_in("phase=succeeded").reached(document)
    assert not goal_in("condition=ready").reached(document)
    assert goal_in("condition=ready=false").reached(document)
    assert not goal_in("delete").reached(document)
    assert goal_in("delete").reached(None)
    assert "ended as Succeeded" in goal_in("phase=running").hopeless(document)


@pytest.fixture
def later() -> Iterator[list[threading.Thread]]:
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(10)


def once_watched(running: RunningControl, later: list[threading.Thread], work: object) -> None:
    """Do it when the command has begun to watch: not before, so that the watch itself is what brings the news."""
    watched = threading.Event()
    running.control.before = lambda call: watched.set() if call == "watch" else None

    def act() -> None:
        assert watched.wait(10)
        running.do(work)  # type: ignore[arg-type]

    later.append(threading.Thread(target=act))
    later[-1].start()


@pytest.mark.real
def test_wait_for_a_condition_that_comes(
    skerry: Skerry, running: RunningControl, later: list[threading.Thread]
) -> None:
    running.do(running.control.put(KEY, {}, ready("False")))
    once_watched(running, later, running.control.put(KEY, {}, ready("True")))
    ran = skerry("wait", "svc/digits", "--for", "condition=Ready", "--timeout", "20s")
    assert (ran.code, ran.out) == (0, "modelservice/digits reached condition Ready=True\n"), ran.err


@pytest.mark.real
def test_wait_for_a_deletion(skerry: Skerry, running: RunningControl, later: list[threading.Thread]) -> None:
    running.do(running.control.put(KEY, {}))
    once_watched(running, later, running.control.delete(KEY, Owner.COMMAND, None))
    assert skerry("wait", "svc/digits", "--for", "delete", "--timeout", "20s").out == "modelservice/digits deleted\n"
    assert skerry("wait", "svc/digits", "--for", "delete").code == 0  # gone already


@pytest.mark.real
def test_a_wait_in_vain_is_code_3_and_says_where_it_stands(skerry: Skerry, running: RunningControl) -> None:
    running.do(running.control.put(KEY, {}, ready("False", "NoSite")))
    ran = skerry("wait", "svc/digits", "--for", "condition=Ready", "--timeout", "0.2s")
    assert ran.code == 3
    assert "Ready=False (NoSite: 1 of 2)" in ran.err
    assert "skerry describe modelservice/digits" in ran.err


@pytest.mark.real
def test_a_job_that_ended_otherwise_fails_at_once(skerry: Skerry, running: RunningControl) -> None:
    running.do(running.control.put(JOB_KEY, {}, {"phase": "rejected", "message": "accuracy 0.5 is below 0.9"}))
    ran = skerry("wait", "job/digits-1", "--for", "phase=Succeeded", "--timeout", "1h")
    assert (ran.code, "accuracy 0.5 is below 0.9" in ran.err) == (1, True)
    missing = skerry("wait", "job/none", "--for", "phase=Succeeded", "--timeout", "1h")
    assert (missing.code, "does not exist" in missing.err) == (1, True)


@pytest.mark.real
def test_a_watch_outlives_its_control_plane() -> None:
    """The server is closed under an open watch and comes back on the same port: the watch goes on where it was."""
    seen: list[int] = []
    first, done = threading.Event(), threading.Event()
    key = Key("Zone", "", "plant")

    def look(address: str) -> None:
        with ControlClient(address) as client:
            for change in client.watch(0, "Zone", "", time.monotonic() + 20):
                seen.append(change.sequence)
                first.set()
                if len(seen) == 2:
                    break
        done.set()

    with running_control() as running:
        running.do(running.control.put(key, {"region": "a"}))
        watcher = threading.Thread(target=look, args=(running.address,))
        watcher.start()
        assert first.wait(10)
    # A new process has nothing but the store: here the same objects and log behind another server.
    again = type(running.control)(running.control.objects, running.control.log)
    with running_control(running.address, again) as back:
        back.do(again.put(key, {"region": "b"}))
        assert done.wait(20)
    watcher.join(10)
    assert seen == [1, 2]


@pytest.mark.real
def test_train_by_options_follows_the_job_to_its_variants(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("train", "--model", "digits", "--epochs", "3", "--name", "d1", "--accuracy-min", "0.9")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "trainingjob/d1 succeeded: modelversion/digits-v1"
    assert lines[1].split() == ["VARIANT", "ACCURACY", "SIZE", "P50", "P99"]
    assert lines[2].split() == ["litert-int8", "0.9700", "15.0", "KiB", "0.003", "ms", "0.004", "ms"]
    assert "default/d1 running: step 2/3 loss 0.3333  accuracy 0.5" in ran.err
    spec = running.control.objects[Key("TrainingJob", "default", "d1")].spec
    assert (spec["epochs"], spec["gate"]) == (3, {"accuracy_min": 0.9})


@pytest.mark.real
def test_train_from_a_file_as_json(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("train", "-f", "-", "-o", "json", stdin=JOB.encode())
    assert json.loads(ran.out)["status"]["phase"] == "succeeded"


@pytest.mark.real
@pytest.mark.parametrize(
    ("text", "message"), [(ZONE, "holds Zone"), (JOB + "---\n" + JOB, "holds TrainingJob, TrainingJob")]
)
def test_train_takes_one_job(skerry: Skerry, running: RunningControl, text: str, message: str) -> None:
    ran = skerry("train", "-f", "-", stdin=text.encode())
    assert (ran.code, message in ran.err) == (1, True)


@pytest.mark.real
def test_a_rejected_model_is_code_1_with_the_reason(skerry: Skerry, running: RunningControl) -> None:
    running.control.job_phase = "rejected"
    ran = skerry("train", "--model", "digits", "--name", "d1")
    assert ran.code == 1
    assert "trainingjob/d1 rejected: accuracy 0.5 is below 0.9: see `skerry logs trainingjob/d1`" in ran.err


@pytest.mark.real
def test_losing_the_control_plane_says_that_the_job_goes_on(skerry: Skerry, running: RunningControl) -> None:
    def fail(call: str) -> None:
        if call == "train 2":
            raise StoreUnavailable("database: locked: see its log")

    running.control.before = fail
    ran = skerry("train", "--model", "digits", "--name", "d1")
    assert ran.code == 1
    assert "lost the control plane while trainingjob/d1 was running: the job goes on: `skerry wait" in ran.err


@pytest.mark.real
def test_a_wrong_option_value_is_refused_by_the_control_plane(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("train", "--model", "digits", "--workers", "99")
    assert (ran.code, "spec.workers: 99" in ran.err) == (1, True)
