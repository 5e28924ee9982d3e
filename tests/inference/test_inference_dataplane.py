"""Which model answers: names, versions, namespaces, incarnations, drain, and swaps under load."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from oip_requests import MODELS, ONES, floats, infer, plane_with, request, source

from protos.inference.v2 import inference_pb2 as pb
from workers.inference.dataplane import DataPlane, ModelSource
from workers.inference.errors import (
    InferenceError,
    ModelLoadFailed,
    ModelNotReady,
    ModelUnknown,
    Unsupported,
    WrongIncarnation,
)
from workers.inference.runtime import ModelDescription, TensorSpec

CALL = request("dense", {"x": ONES})
SERVICE = "/inference.GRPCInferenceService/"


def ask(plane, method, message, reply, **metadata):
    keyed = {key.replace("_", "-"): value for key, value in metadata.items()}
    return reply.FromString(plane.handle(SERVICE + method, message.SerializeToString(), keyed).payload)


class Constant:
    """A runtime whose answers say which load gave them."""

    description = ModelDescription("fake", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (1,)),))

    def __init__(self, number, entered=None, gate=None):
        self.number, self.entered, self.gate = number, entered, gate

    def run(self, inputs, outputs):
        if self.gate is not None:
            self.entered.set()
            assert self.gate.wait(20)
        return [np.array([self.number], np.float32)]


def constant_plane(**runtimes):
    return DataPlane(open=lambda path, format: runtimes[path.name])


def test_unknown_models_and_versions_name_what_is_served():
    plane = plane_with("dense", "two")
    with pytest.raises(ModelUnknown, match="'nope' is not served here; this server serves 'dense', 'two'") as caught:
        infer(plane, request("nope", {"x": ONES}))
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    with pytest.raises(ModelUnknown, match="model 'dense', version '9' is not served here; this server serves '1'"):
        infer(plane, request("dense", {"x": ONES}, model_version="9"))
    assert infer(plane, request("dense", {"x": ONES}, model_version="1")).model_version == "1"


def test_a_new_version_takes_over_and_a_broken_one_does_not(tmp_path):
    plane = plane_with("dense")
    plane.load(source("dense", "dense_v2", version="2"))
    assert floats(infer(plane, CALL), "score")[0].tolist() == [7.5, 0.75, -0.875]
    (tmp_path / "broken.tflite").write_bytes((MODELS / "dense.tflite").read_bytes()[:700])
    with pytest.raises(ModelLoadFailed, match=r"broken\.tflite does not load: .*; check that it is a whole"):
        plane.load(ModelSource("dense", "3", tmp_path / "broken.tflite", "tflite"))
    assert infer(plane, CALL).model_version == "2"
    assert [(model.name, model.version, model.load_generation) for model in plane.models()] == [("dense", "2", 2)]


def test_a_file_may_vanish_once_it_is_loaded(tmp_path):
    path = tmp_path / "copy.tflite"
    path.write_bytes((MODELS / "dense.tflite").read_bytes())
    plane = DataPlane()
    plane.load(ModelSource("dense", "1", path, "tflite"))
    path.write_bytes(b"")
    with ThreadPoolExecutor(8) as callers:  # enough to make further interpreters
        answers = list(callers.map(lambda _: infer(plane, CALL), range(64)))
    assert all(floats(answer, "score").shape == (2, 3) for answer in answers)


@pytest.mark.parametrize(
    ("path", "format", "said"),
    [
        (MODELS / "absent.tflite", "tflite", "no such file"),
        (MODELS / "dense.tflite", "onnx", "format 'onnx' is not known; use one of tflite, savedmodel"),
    ],
)
def test_what_cannot_be_loaded_says_why(path, format, said):
    with pytest.raises(ModelLoadFailed, match=said):
        DataPlane().load(ModelSource("m", "1", path, format))


def test_draining_is_unavailable_and_never_not_found():
    plane = plane_with("dense", "two")
    plane.drain("dense")
    plane.drain("awaited")
    for name in ("dense", "awaited"):
        with pytest.raises(ModelNotReady) as caught:
            infer(plane, request(name, {"x": ONES}))
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
        assert not plane.ready(name)
    assert not ask(plane, "ModelReady", pb.ModelReadyRequest(name="dense"), pb.ModelReadyResponse).ready
    assert ask(plane, "ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready  # `two` still serves
    plane.drain("two")
    assert not ask(plane, "ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready
    plane.unload("dense")
    with pytest.raises(ModelUnknown):
        infer(plane, CALL)
    plane.load(source("dense"))
    assert plane.ready("dense")


def test_a_call_under_way_finishes_while_its_model_drains_and_goes():
    entered, gate = threading.Event(), threading.Event()
    plane = constant_plane(slow=Constant(1, entered, gate))
    plane.load(ModelSource("m", "1", MODELS / "slow", "tflite"))
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(infer, plane, request("m", {"x": ONES}))
        assert entered.wait(20)
        plane.drain("m")
        plane.unload("m")
        gate.set()
        assert floats(answer.result(20), "y").tolist() == [1]


def test_a_load_goes_on_beside_the_running_model():
    entered, gate = threading.Event(), threading.Event()

    def open_slowly(path, format):
        if path.name == "second":
            entered.set()
            assert gate.wait(20)
        return Constant(1 if path.name == "first" else 2)

    plane = DataPlane(open=open_slowly)
    plane.load(ModelSource("m", "1", MODELS / "first", "tflite"))
    with ThreadPoolExecutor(1) as loader:
        loading = loader.submit(plane.load, ModelSource("m", "2", MODELS / "second", "tflite"))
        assert entered.wait(20)
        assert floats(infer(plane, request("m", {"x": ONES})), "y").tolist() == [1]
        gate.set()
        loading.result(20)
    assert floats(infer(plane, request("m", {"x": ONES})), "y").tolist() == [2]


def test_swaps_under_load_lose_and_mix_nothing():
    """Each answer's version and numbers belong to one load."""
    plane = plane_with("dense")
    want = {"1": [3.75, 0.375, -0.4375], "2": [7.5, 0.75, -0.875]}
    done = threading.Event()

    def call():
        seen = set()
        while not done.is_set():
            answer = infer(plane, CALL)
            assert floats(answer, "score")[1].tolist() == want[answer.model_version]
            seen.add(answer.model_version)
        return seen

    with ThreadPoolExecutor(6) as callers:
        calls = [callers.submit(call) for _ in range(6)]
        for round in range(40):
            version = "2" if round % 2 == 0 else "1"
            plane.load(source("dense", "dense_v2" if version == "2" else "dense", version=version))
        done.set()
        assert set.union(*(each.result(20) for each in calls)) == {"1", "2"}


def test_namespaces_keep_equal_names_apart():
    plane = DataPlane()
    plane.load(source("dense"))
    plane.load(source("plant-7/dense", "dense_v2", version="2"))
    assert infer(plane, CALL).model_version == "1"
    assert infer(plane, CALL, skerry_namespace="default").model_version == "1"
    answer = infer(plane, CALL, skerry_namespace="plant-7")
    assert (answer.model_name, answer.model_version) == ("dense", "2")
    with pytest.raises(ModelUnknown):
        infer(plane, CALL, skerry_namespace="plant-8")
    with pytest.raises(ModelUnknown):  # no way into a namespace by a name
        infer(plane, request("plant-7/dense", {"x": ONES}))


def test_a_call_for_another_incarnation_is_unavailable():
    plane = DataPlane()
    plane.load(source("dense", incarnation="i-2"))
    assert infer(plane, CALL, skerry_incarnation="i-2").outputs
    assert infer(plane, CALL).outputs
    with pytest.raises(WrongIncarnation, match="'i-2', the call is for 'i-1'") as caught:
        infer(plane, CALL, skerry_incarnation="i-1")
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_answers_carry_the_metadata_of_their_source():
    plane = DataPlane()
    plane.load(source("dense", metadata={"skerry-site": "line-3"}))
    reply = plane.handle(SERVICE + "ModelInfer", CALL.SerializeToString(), {})
    assert reply.metadata == {"skerry-site": "line-3"}


@pytest.mark.parametrize("metadata", [{"Site": "a"}, {"grpc-x": "a"}, {"site": "a\nb"}, {"site": "\N{SNOWMAN}"}])
def test_metadata_that_grpc_would_refuse_later_is_refused_now(metadata):
    with pytest.raises(ModelLoadFailed, match="cannot be sent"):
        DataPlane().load(source("dense", metadata=metadata))


def test_metadata_of_a_model():
    answer = ask(plane_with("dense"), "ModelMetadata", pb.ModelMetadataRequest(name="dense"), pb.ModelMetadataResponse)
    assert (answer.name, list(answer.versions), answer.platform) == ("dense", ["1"], "litert")
    assert [(t.name, t.datatype, list(t.shape)) for t in answer.inputs] == [("x", "FP32", [-1, 4])]
    assert answer.properties["max_message_bytes"] == "67108864"


def test_methods_of_other_servers_are_unimplemented():
    with pytest.raises(Unsupported, match="RepositoryIndex") as caught:
        DataPlane().handle(SERVICE + "RepositoryIndex", b"", {})
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED
    assert isinstance(caught.value, InferenceError)


@pytest.mark.parametrize(
    ("name", "format", "said"),
    [
        ("folder", "savedmodel", "it holds no saved_model.pb; export it with tf.saved_model.save"),
        ("x.tar", "savedmodel.tar", r"make it with tar -cf NAME.tar -C FOLDER \."),
    ],
)
def test_a_savedmodel_that_is_none_is_refused_before_tensorflow_is_asked(tmp_path, name, format, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.tar").write_bytes(b"not a tar")
    with pytest.raises(ModelLoadFailed, match=said):
        DataPlane().load(ModelSource("m", "1", tmp_path / name, format))
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("raw", [True, False])
def test_the_answer_itself_says_who_answered_since_most_clients_hide_trailing_metadata(raw):
    plane = DataPlane()
    plane.load(source("dense", metadata={"skerry-site": "line-3", "skerry-version": "1"}))
    answer = infer(plane, request("dense", {"x": ONES}, raw=raw))
    said = {name: parameter.string_param for name, parameter in answer.parameters.items()}
    assert said == {"skerry_site": "line-3", "skerry_version": "1"}
    assert floats(answer, "score").tolist() == [[3.75, 0.375, -0.4375]] * 2
