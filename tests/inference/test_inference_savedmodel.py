"""One contract, two runtimes: LiteRT here, TensorFlow in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oip_requests import MODELS, ONES, floats, infer, plane_with, request

from protos.inference.v2 import inference_pb2 as pb
from workers.inference import errors
from workers.inference.describe import describe_model
from workers.inference.errors import InferenceError
from workers.inference.tensors import numpy_type

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

ROWS = np.random.default_rng(3).uniform(-1, 1, (5, 4)).astype(np.float32)
PAIR = {"left": ROWS[:, :2].copy(), "right": ROWS[:, 2:].copy()}
ENVIRONMENT = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture(scope="module")
def tensorflow(tmp_path_factory):
    """Calls as (request) -> answer or the error that the same call raises here."""
    folder = tmp_path_factory.mktemp("savedmodels")
    script = Path(__file__).parent / "savedmodel_script.py"
    with (folder / "stderr").open("w") as stderr, subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        greeting = process.stdout.readline()
        assert greeting, (folder / "stderr").read_text()[-3000:]

        def call(message):
            process.stdin.write(json.dumps(message.SerializeToString().hex()) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "error" in answer:
                return answer["error"], answer["said"]
            return pb.ModelInferResponse.FromString(bytes.fromhex(answer["answer"]))

        call.descriptions, call.folder = json.loads(greeting), folder
        yield call
        process.stdin.close()


@pytest.fixture(scope="module")
def litert():
    plane = plane_with("dense", "two", "lookup", "text")

    def call(message):
        try:
            return infer(plane, message)
        except InferenceError as err:
            return type(err).__name__, str(err)

    return call


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("rows", [1, 5])
def test_both_give_the_same_answer(litert, tensorflow, rows, raw):
    for model, inputs in (("dense", {"x": ROWS[:rows]}), ("two", {name: a[:rows] for name, a in PAIR.items()})):
        message = request(model, inputs, raw=raw, id="7")
        here, there = litert(message), tensorflow(message)
        assert [(o.name, o.datatype, list(o.shape)) for o in here.outputs] == [
            (o.name, o.datatype, list(o.shape)) for o in there.outputs
        ]
        assert (here.id, here.model_version) == (there.id, there.model_version) == ("7", "1")
        for name in (output.name for output in here.outputs if output.datatype == "FP32"):
            np.testing.assert_allclose(floats(here, name), floats(there, name), rtol=1e-5, atol=1e-6)


def test_both_give_the_same_text(litert, tensorflow):
    message = request("text", {"text": np.array([b"a\0", b"", b"\xff"], object)})
    assert litert(message).SerializeToString() == tensorflow(message).SerializeToString()


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (request("dense", {"x": ONES[:, :3]}), "BadTensor"),
        (request("dense", {"x": ONES.astype(np.float64)}), "BadTensor"),
        (request("dense", {"x": ONES}, outputs=["nope"]), "BadTensor"),
        (request("dense", {}), "BadTensor"),
        (request("dense", {"x": ONES}, model_version="9"), "ModelUnknown"),
    ],
)
def test_both_refuse_the_same_with_the_same_words(litert, tensorflow, message, error):
    assert litert(message) == tensorflow(message)
    assert litert(message)[0] == error


def test_both_answer_a_failure_in_the_graph_with_one_line(litert, tensorflow):
    message = request("lookup", {"index": np.array([1, 9], np.int32)})
    for kind, said in (litert(message), tensorflow(message)):
        assert kind == errors.InferenceFailed.__name__
        assert "\n" not in said


def test_both_describe_the_same_tensors(tensorflow):
    for model in ("dense", "two", "lookup", "text"):
        assert str(describe_model(MODELS / f"{model}.tflite", "tflite")) == tensorflow.descriptions[model]
    assert tensorflow.descriptions["packed"] == tensorflow.descriptions["dense"]


def test_a_packed_savedmodel_answers_like_its_folder(tensorflow):
    folder, packed = tensorflow(request("dense", {"x": ROWS})), tensorflow(request("packed", {"x": ROWS}))
    np.testing.assert_array_equal(floats(folder, "score"), floats(packed, "score"))


def test_bf16_passes_raw(tensorflow):
    answer = tensorflow(request("wide", {"x": np.array([[1.5, -2]], numpy_type("BF16"))}))
    assert answer.outputs[0].datatype == "BF16"
    assert np.frombuffer(answer.raw_output_contents[0], numpy_type("BF16")).astype(np.float32).tolist() == [3.0, -4.0]


def test_describe_gives_the_tensors(tensorflow):
    description = describe_model(tensorflow.folder / "dense", "savedmodel")
    assert str(description) == "x FP32 [-1, 4] -> best INT64 [-1], score FP32 [-1, 3]"
