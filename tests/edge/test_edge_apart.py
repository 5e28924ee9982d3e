"""A model in a process of its own: real processes, and what a runaway does to them."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from conftest import DENSE, MODELS, infer_request, wait_for

from protos.inference.v2 import inference_pb2 as oip
from workers.edge.apart import LANES, PATIENCE_S, Apart, Limits, Processes, ReplicaEnded
from workers.edge.assignment import Artifact, Content, ReplicaAssignment
from workers.edge.trials import Trials
from workers.inference.apart import NICENESS
from workers.inference.dataplane import DataPlane, ModelSource
from workers.inference.errors import InferenceError, ModelLoadFailed
from workers.inference.frames import Closed, receive_reply, receive_request, send_reply, send_request

pytestmark = pytest.mark.real

INFER = "/inference.GRPCInferenceService/ModelInfer"
MIB = 1 << 20
ENOUGH = Limits(memory_bytes=128 * MIB)
TIGHT = Limits(memory_bytes=80 * MIB)


def source(path: Path = MODELS / "dense.tflite") -> ModelSource:
    return ModelSource("dense", "v1", path, "tflite", "r1.1.boot", {"skerry-site": "s1"})


def runaway(folder: Path) -> Path:
    """The dense model with one byte flipped: a size of 4 becomes one of 1.1e9, so that its warm-up takes 4.6 GB."""
    data = bytearray(DENSE)
    data[1303] = 69
    path = folder / "runaway.tflite"
    path.write_bytes(data)
    return path


def rows(count: int) -> bytes:
    message = oip.ModelInferRequest(model_name="dense")
    message.inputs.add(name="x", datatype="FP32", shape=(count, 4))
    message.raw_input_contents.append(bytes(16 * count))
    return message.SerializeToString()


@pytest.fixture
def processes() -> Iterator[Processes]:
    processes = Processes()
    yield processes
    processes.close()


class Ends(list[str]):
    """What was told of ends."""

    def wait(self) -> str:
        wait_for(lambda: len(self) > 0, "an end")
        return self[0]


def freeze(process: int) -> None:
    """As a model that never comes back, whatever thread is asked."""
    os.kill(process, signal.SIGSTOP)
    wait_for(lambda: psutil.Process(process).status() == psutil.STATUS_STOPPED, "a stop")


def gone(process: int) -> bool:
    """An orphan waits for init to take note of it."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def code_of(apart: Apart, payload: bytes) -> grpc.StatusCode:
    with pytest.raises(InferenceError) as caught:
        apart.handle(INFER, payload, {})
    return caught.value.code


def test_it_answers_as_the_same_model_in_this_process(processes: Processes) -> None:
    here = DataPlane()
    here.load(source())
    apart = processes.start(source(), ENOUGH)
    for method, payload in (
        ("ModelInfer", infer_request()),
        ("ModelInfer", rows(100_000)),  # 1.6 MB
        ("ModelReady", oip.ModelReadyRequest(name="dense").SerializeToString()),
    ):
        full = f"/inference.GRPCInferenceService/{method}"
        assert apart.handle(full, payload, {}) == here.handle(full, payload, {})
    asked = oip.ModelMetadataRequest(name="dense").SerializeToString()
    told = [each.handle("/inference.GRPCInferenceService/ModelMetadata", asked, {}) for each in (apart, here)]
    theirs, ours = (oip.ModelMetadataResponse.FromString(reply.payload) for reply in told)  # a map has no order
    assert theirs == ours
    for payload, metadata in (
        (infer_request(columns=5), {}),
        (b"\xff\xff", {}),
        (infer_request("other"), {}),
        (infer_request(), {"skerry-incarnation": "older"}),
    ):
        with pytest.raises(InferenceError) as expected:
            here.handle(INFER, payload, metadata)
        with pytest.raises(InferenceError) as found:
            apart.handle(INFER, payload, metadata)
        assert (found.value.code, str(found.value)) == (expected.value.code, str(expected.value))


def test_calls_at_once_each_get_their_own_answer(processes: Processes) -> None:
    apart = processes.start(source(), ENOUGH)

    def call(number: int) -> bool:
        message = oip.ModelInferRequest.FromString(infer_request())
        message.id = str(number)
        return oip.ModelInferResponse.FromString(
            apart.handle(INFER, message.SerializeToString(), {}).payload
        ).id == str(number)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(call, range(400)))


def test_it_is_held_to_its_cores_and_stands_behind_the_agent(processes: Processes) -> None:
    apart = processes.start(source(), Limits(compute_millis=250))
    process = psutil.Process(apart.process)
    assert len(process.cpu_affinity()) == 1
    wait_for(lambda: niceness(process) == {psutil.Process().nice() + NICENESS}, "its place behind the agent")
    assert Path(f"/proc/{apart.process}/oom_score_adj").read_text().strip() == "500"
    assert apart.resident_bytes > 20 * MIB


def niceness(process: psutil.Process) -> set[int]:
    """Of all its threads."""
    stats = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    return {int(stat.rpartition(")")[2].split()[16]) for stat in stats}


def test_a_file_that_is_no_model_is_refused_with_its_reason(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"this is no model" * 10)
    with pytest.raises(ModelLoadFailed, match="check that it is a whole"):
        processes.start(source(path), ENOUGH)
    assert processes.ids() == []


def test_a_model_that_takes_more_memory_than_its_limit_is_refused(processes: Processes, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match="raise memory_mib: 128 MiB is the limit"):
        processes.start(source(runaway(tmp_path)), ENOUGH)


def test_a_limit_below_what_the_process_takes_itself_is_refused(processes: Processes) -> None:
    with pytest.raises(ModelLoadFailed, match="more memory than its limit, 16 MiB"):
        processes.start(source(), Limits(memory_bytes=16 * MIB))


def test_a_load_that_hangs_is_ended(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)  # reading it waits for ever
    with pytest.raises(ReplicaEnded, match=r"loading took over 1 s.*more cores"):
        processes.start(source(path), Limits(load_s=1.0))
    assert processes.ids() == []


def test_a_call_that_needs_more_memory_is_refused_or_ends_the_process_alone(processes: Processes) -> None:
    ends = Ends()
    apart = processes.start(source(), TIGHT, ends.append)
    code = code_of(apart, rows(3_500_000))  # 56 MB
    assert code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
    if code is grpc.StatusCode.UNAVAILABLE:
        assert "memory limit 80 MiB" in ends.wait()
    else:
        assert apart.handle(INFER, infer_request(), {}).payload


def test_a_crash_is_told_with_its_signal_and_callers_are_sent_elsewhere(processes: Processes) -> None:
    ends = Ends()
    apart = processes.start(source(), ENOUGH, ends.append)
    os.kill(apart.process, signal.SIGSEGV)
    assert "ended by signal SIGSEGV" in ends.wait()
    assert "raise memory_mib" in ends[0]
    assert code_of(apart, infer_request()) is grpc.StatusCode.UNAVAILABLE
    assert (len(ends), processes.ids()) == (1, [])


def test_a_call_that_hangs_ends_the_process_and_is_told(processes: Processes) -> None:
    ends = Ends()
    apart = processes.start(source(), Limits(call_s=0.5), ends.append)
    freeze(apart.process)
    assert code_of(apart, infer_request()) is grpc.StatusCode.UNAVAILABLE
    assert "a call took over 0.5 s, so it was taken for hung" in ends.wait()


def test_callers_of_one_that_hangs_are_turned_away_before_they_take_all_threads(processes: Processes) -> None:
    apart = processes.start(source(), Limits(call_s=30.0))
    freeze(apart.process)
    with ThreadPoolExecutor(LANES + 4) as threads:
        waiting = [threads.submit(code_of, apart, infer_request()) for _ in range(LANES + 4)]
        began_s = time.monotonic()
        wait_for(lambda: sum(call.done() for call in waiting) == 4, "four refusals")
        assert time.monotonic() - began_s < PATIENCE_S + 1.0
        assert code_of(apart, infer_request()) is grpc.StatusCode.UNAVAILABLE, "at once now"
        assert time.monotonic() - began_s < PATIENCE_S + 1.0
        os.kill(apart.process, signal.SIGKILL)


def test_one_that_is_given_up_finishes_its_calls(processes: Processes) -> None:
    apart = processes.start(source(), ENOUGH)
    number = apart.process
    freeze(number)
    answers: list[bytes] = []
    call = threading.Thread(target=lambda: answers.append(apart.handle(INFER, infer_request(), {}).payload))
    call.start()
    wait_for(lambda: len(apart._free) < LANES, "a call under way")
    processes.end(apart)
    assert code_of(apart, infer_request()) is grpc.StatusCode.UNAVAILABLE
    os.kill(number, signal.SIGCONT)
    call.join(10.0)
    assert answers
    wait_for(lambda: gone(number), "the end of the process")


def test_starts_and_ends_of_every_kind_leave_nothing_behind(processes: Processes, tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        return psutil.Process().num_fds(), threading.active_count()

    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"this is no model" * 10)
    before = held()
    for _ in range(3):
        ends = Ends()
        crashed = processes.start(source(), ENOUGH, ends.append)
        crashed.handle(INFER, infer_request(), {})
        os.kill(crashed.process, signal.SIGKILL)
        ends.wait()
        processes.end(processes.start(source(), ENOUGH))
        with pytest.raises(ModelLoadFailed):
            processes.start(source(bad), ENOUGH)
    wait_for(lambda: held() <= before, f"return to {before} descriptors and threads")
    assert processes.ids() == []


def test_where_no_process_can_be_started_it_says_so_and_keeps_nothing(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = psutil.Process().num_fds()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ReplicaEnded, match="no process can be started for it"):
        processes.start(source(), ENOUGH)
    assert (psutil.Process().num_fds(), processes.ids()) == (before, [])


def test_what_lies_in_the_folder_that_the_agent_was_started_in_is_not_imported(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('another json')\n")
    monkeypatch.chdir(tmp_path)
    assert processes.start(source(), ENOUGH).handle(INFER, infer_request(), {}).payload


def test_it_ends_with_its_agent_even_if_it_hangs(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from workers.edge.apart import Limits, Processes\n"
        "from workers.inference.dataplane import ModelSource\n"
        f"source = ModelSource('dense', 'v1', pathlib.Path({str(MODELS / 'dense.tflite')!r}), 'tflite')\n"
        "print(Processes().start(source, Limits()).process, flush=True)\n"
        "time.sleep(60)\n"
    )
    agent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert agent.stdout
    with agent.stdout:
        process = int(agent.stdout.readline())
    freeze(process)  # no thread of it runs any more
    agent.kill()
    agent.wait(10.0)
    wait_for(lambda: gone(process), "the end of the process")


def test_a_trial_comes_once_for_each_artifact_and_refuses_a_runaway(processes: Processes, tmp_path: Path) -> None:
    trials = Trials(tmp_path / "tried", processes)
    (tmp_path / "file").touch()
    digest = f"sha256:{'a' * 64}"
    content = Content("r1", "default", "dense", "v1", Artifact(digest, len(DENSE), "tflite"))
    replica = ReplicaAssignment(content, 1 << 20, "d1", 3600, draining=False)
    with pytest.raises(ModelLoadFailed, match="raise memory_mib: 260 MiB is the limit"):
        trials.pass_first(replica, source(runaway(tmp_path)))
    trials.pass_first(replica, source())
    trials.pass_first(replica, source(tmp_path / "nowhere"))  # passed before: not tried again
    Trials(tmp_path / "file" / "tried", processes).pass_first(replica, source())  # no mark can be kept: no matter
    trials.forget({f"sha256:{'b' * 64}"})
    with pytest.raises(ModelLoadFailed, match="no such file"):
        trials.pass_first(replica, source(tmp_path / "nowhere"))


# ---- frames


def test_frames_carry_any_bytes_both_ways() -> None:
    near, far = socket.socketpair()
    payload = np.random.default_rng(1).bytes(3 * MIB)
    with near, far, ThreadPoolExecutor(1) as threads:
        sent = threads.submit(send_request, near, INFER, {"a": "ü"}, payload)
        assert receive_request(far) == (INFER, {"a": "ü"}, payload)
        sent.result()
        send_reply(far, 3, {}, b"")
        assert receive_reply(near) == (3, {}, b"")


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0" * 12 + b"x" * 5, b"\xff" * 12, b"\1\0\0\0" * 3 + b"ab"])
def test_a_stream_that_breaks_off_or_lies_is_closed(sent: bytes) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.sendall(sent)
        near.shutdown(socket.SHUT_WR)
        with pytest.raises(Closed):  # b"\\0" * 12 is a request, of nothing
            [receive_request(far) for _ in range(2)]
