"""Requests against a model's description, and random bytes against everything."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oip_requests import INFER, ONES, floats, infer, plane_with, request

from protos.inference.v2 import inference_pb2 as pb
from workers.inference.dataplane import METHODS
from workers.inference.errors import BadTensor, InferenceError, Unsupported

LEFT, RIGHT = np.array([[1, 2]], np.float32), np.array([[3, 4]], np.float32)


@pytest.fixture(scope="module")
def plane():
    return plane_with("dense", "two", "text")


def test_the_answer_echoes_id_and_names_version_outputs_and_shapes(plane):
    answer = infer(plane, request("dense", {"x": ONES}, id="call-7"))
    assert (answer.model_name, answer.model_version, answer.id) == ("dense", "1", "call-7")
    assert [(out.name, out.datatype, list(out.shape)) for out in answer.outputs] == [
        ("best", "INT64", [2]),
        ("score", "FP32", [2, 3]),
    ]
    assert floats(answer, "score").tolist() == [[3.75, 0.375, -0.4375]] * 2


@pytest.mark.parametrize("raw", [True, False])
def test_the_answer_comes_in_the_form_of_the_request(plane, raw):
    answer = infer(plane, request("two", {"left": LEFT, "right": RIGHT}, raw=raw))
    assert bool(answer.raw_output_contents) is raw
    assert all(output.HasField("contents") is not raw for output in answer.outputs)
    assert floats(answer, "sum").tolist() == [[4, 6]]
    assert floats(answer, "product").tolist() == [[3, 8]]


def test_inputs_may_come_in_any_order(plane):
    answer = infer(plane, request("two", {"right": RIGHT, "left": LEFT * 10}))
    assert floats(answer, "sum").tolist() == [[13, 24]]


def test_only_the_requested_outputs_in_the_requested_order(plane):
    answer = infer(plane, request("two", {"left": LEFT, "right": RIGHT}, outputs=["sum", "product"]))
    assert [output.name for output in answer.outputs] == ["sum", "product"]
    assert floats(answer, "sum").tolist() == [[4, 6]]
    answer = infer(plane, request("two", {"left": LEFT, "right": RIGHT}, outputs=["product"]))
    assert [output.name for output in answer.outputs] == ["product"]
    assert len(answer.raw_output_contents) == 1


@pytest.mark.parametrize("raw", [True, False])
def test_bytes_keep_their_zeros(plane, raw):
    text = np.array([b"a\0", b"", "\N{SNOWMAN}".encode()], object)
    answer = infer(plane, request("text", {"text": text}, raw=raw))
    assert list(answer.outputs[0].shape) == [1, 3]
    want = list(answer.outputs[0].contents.bytes_contents) if not raw else answer.raw_output_contents[0]
    elements = [b"a\0", b"", "\N{SNOWMAN}".encode()]
    assert want == (b"".join(len(e).to_bytes(4, "little") + e for e in elements) if raw else elements)


def broken(change):
    message = request("two", {"left": LEFT, "right": RIGHT})
    change(message)
    return message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.inputs[0].contents.fp32_contents.extend([1, 2]), "'left' has contents beside raw_input_contents"),
        (lambda m: m.raw_input_contents.pop(), "2 inputs but 1 raw_input_contents"),
        (lambda m: m.raw_input_contents.append(b""), "2 inputs but 3 raw_input_contents"),
        (lambda m: m.inputs.pop(), "input 'right' is missing; the model takes left FP32"),
        (lambda m: m.inputs.add(name="up"), "input 'up' is unknown; the model takes left FP32"),
        (lambda m: m.inputs.add(name="left"), "input 'left' is given twice"),
        (lambda m: setattr(m.inputs[1], "datatype", "FP64"), "'right' is FP64, the model takes FP32"),
        (lambda m: m.inputs[1].shape.append(1), r"'right' has shape \[1, 2, 1\], the model takes \[-1, 2\]"),
        (lambda m: m.inputs[1].shape.__setitem__(1, 3), r"'right' has shape \[1, 3\], the model takes \[-1, 2\]"),
        (lambda m: m.inputs[1].shape.__setitem__(0, 2), r"FP32 x \[2, 2\] is 16 bytes, raw content has 8"),
        (lambda m: m.inputs[1].shape.__setitem__(0, 0), r"'right': shape \[0, 2\] has a size below 1"),
        (lambda m: m.outputs.add(name="quotient"), "output 'quotient' is unknown; the model gives"),
        (lambda m: (m.outputs.add(name="sum"), m.outputs.add(name="sum")), "output 'sum' is requested twice"),
    ],
)
def test_a_request_that_does_not_fit_says_why(plane, change, said):
    with pytest.raises(BadTensor, match=said):
        infer(plane, broken(change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.parameters["sequence_id"].__setattr__("int64_param", 7), "the request carries sequence_id"),
        (lambda m: m.inputs[0].parameters["shared_memory_region"].SetInParent(), "input 'left' carries shared_memory"),
        (
            lambda m: m.outputs.add(name="sum").parameters["classification"].__setattr__("int64_param", 3),
            "output 'sum' carries classification",
        ),
    ],
)
def test_extensions_that_would_change_the_answer_are_refused_by_name(plane, change, said):
    with pytest.raises(Unsupported, match=said):
        infer(plane, broken(change))


def test_hints_of_other_servers_are_let_pass(plane):
    message = request("dense", {"x": ONES})
    message.parameters["priority"].uint64_param = 1
    message.parameters["x-note"].string_param = "kept out"
    assert infer(plane, message).outputs


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.sampled_from((*METHODS, "/inference.GRPCInferenceService/RepositoryIndex", "")), st.binary(max_size=200))
def test_random_bytes_end_in_an_answer_or_an_inference_error(plane, method, payload):
    with suppress(InferenceError):
        assert isinstance(plane.handle(method, payload, {}).payload, bytes)


@settings(deadline=None, derandomize=True, max_examples=600)
@given(st.sampled_from(["dense", "text", "two"]), st.booleans(), st.data())
def test_damaged_requests_end_in_an_answer_or_an_inference_error(plane, model, raw, data):
    inputs = {"dense": {"x": ONES}, "two": {"left": LEFT, "right": RIGHT}, "text": {"text": np.array([b"ab"], object)}}
    payload = bytearray(request(model, inputs[model], raw=raw).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InferenceError):
        pb.ModelInferResponse.FromString(plane.handle(INFER, bytes(payload), {}).payload)
    assert infer(plane, request(model, inputs[model])).outputs  # and the next caller is served
