"""The server as a process: what it prints, loads and holds, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import grpc
import pytest
from oip_requests import MODELS, ONES, floats, request

from protos.inference.v2 import inference_pb2_grpc as pb_grpc
from workers.inference.describe import describe_model
from workers.inference.errors import ModelLoadFailed
from workers.inference.runtime import TensorSpec

pytestmark = pytest.mark.real

ALONE = [sys.executable, "-m", "workers.inference"]
HEAVY = ("tensorflow", "ray", "pydantic", "typer", "rich", "sqlalchemy", "ml_dtypes", "keras")
LOADED = f"""
import sys
from workers.inference.dataplane import DataPlane, ModelSource
from workers.inference.server import InferenceServer
from pathlib import Path
import json
plane = DataPlane()
plane.load(ModelSource("dense", "1", Path({str(MODELS / "dense.tflite")!r}), "tflite"))
server = InferenceServer(plane, reflection=False)
server.start()
server.stop(0)
rss = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(json.dumps({{"heavy": [name for name in {HEAVY!r} if name in sys.modules], "rss_kib": int(rss)}}))
"""


@contextmanager
def serving(*arguments):
    with subprocess.Popen([*ALONE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_an_edge_server_loads_nothing_heavy_and_stays_small():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=60, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["heavy"] == []
    assert report["rss_kib"] < 80 * 1024


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_files_are_served_until_a_signal(number):
    with serving(f"digits={MODELS / 'dense.tflite'}", f"two={MODELS / 'two.tflite'}", "--port", "0") as process:
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[0] == "digits: x FP32 [-1, 4] -> best INT64 [-1], score FP32 [-1, 3]\n"
        address = lines[2].split()[2]
        with grpc.insecure_channel(address) as channel:
            answer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request("digits", {"x": ONES}), timeout=20)
            assert floats(answer, "score").shape == (2, 3)
        os.kill(process.pid, number)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m=nowhere.tflite", "--port", "0"], "nowhere.tflite does not load: no such file; give a .tflite file"),
        ([f"m={MODELS / 'dense.tflite'}", f"m={MODELS / 'two.tflite'}", "--port", "0"], "taken; choose another NAME"),
        ([f"m={MODELS / 'dense.tflite'}", "--port", "0", "--host", "0.0.0.0"], "plain text is for loopback only"),
        (["m", "--port", "0"], "'m': give NAME=PATH"),
    ],
)
def test_what_cannot_be_served_ends_with_a_clear_line(arguments, said):
    done = subprocess.run([*ALONE, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_busy_port_ends_with_the_remedy(server):
    port = server.address.rpartition(":")[2]
    done = subprocess.run(
        [*ALONE, f"m={MODELS / 'dense.tflite'}", "--port", port],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"error: cannot listen on 127.0.0.1:{port}: another process listens there; stop it, or choose" in done.stderr


def test_describe_runs_elsewhere_and_survives_a_broken_file(tmp_path):
    description = describe_model(MODELS / "dense_fixed.tflite", "tflite")
    assert description.inputs == (TensorSpec("x", "FP32", (1, 4)),)
    assert (description.platform, description.row_by_row) == ("litert", True)
    (tmp_path / "x.tflite").write_bytes(b"TFL3" * 50)
    with pytest.raises(ModelLoadFailed, match=r"whole \.tflite file"):
        describe_model(tmp_path / "x.tflite", "tflite")
    with pytest.raises(ModelLoadFailed, match=r"loading took over 0\.001 s"):
        describe_model(MODELS / "dense.tflite", "tflite", timeout_s=0.001)
