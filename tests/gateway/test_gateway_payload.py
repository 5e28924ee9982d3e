"""The model's name is found in any encoding of a request, and rubbish is refused."""

import contextlib

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from protos.inference.v2 import inference_pb2
from workers.gateway.payload import Malformed, ModelName, model_name

texts = st.text(max_size=20)


@given(texts, texts, texts, st.lists(st.binary(max_size=300), max_size=3))
def test_infer_requests(name: str, version: str, id: str, raws: list[bytes]) -> None:
    request = inference_pb2.ModelInferRequest(model_name=name, model_version=version, id=id, raw_input_contents=raws)
    request.inputs.add(name="x", datatype="FP32", shape=[1, len(raws)])
    request.parameters["priority"].int64_param = -1
    assert model_name(request.SerializeToString()) == ModelName(name, version)


@given(texts, texts)
def test_the_other_model_methods(name: str, version: str) -> None:
    ready = inference_pb2.ModelReadyRequest(name=name, version=version)
    metadata = inference_pb2.ModelMetadataRequest(name=name, version=version)
    assert model_name(ready.SerializeToString()) == model_name(metadata.SerializeToString()) == ModelName(name, version)


def test_fields_in_any_order_the_last_one_counts() -> None:
    first = inference_pb2.ModelInferRequest(model_name="a", raw_input_contents=[b"xyz"]).SerializeToString()
    second = inference_pb2.ModelInferRequest(model_name="b", model_version="2").SerializeToString()
    assert model_name(first + second) == ModelName("b", "2")


@given(st.binary(max_size=60))
@example(b"\x0a\x05ab")  # shorter than it says
@example(b"\x0a\x02\xff\xfe")  # not UTF-8
@example(b"\x00")
@example(b"\xff" * 11)
def test_agrees_with_protobuf_on_whatever_comes(payload: bytes) -> None:
    """What protobuf reads, we read alike; we may refuse more (groups), and never fail otherwise."""
    ours = theirs = None
    with contextlib.suppress(Malformed):
        ours = model_name(payload)
    with contextlib.suppress(DecodeError):
        theirs = inference_pb2.ModelReadyRequest.FromString(payload)
    if ours is not None and theirs is not None:
        assert ours == ModelName(theirs.name, theirs.version)


@pytest.mark.parametrize(
    "payload", [b"\x0a\x05ab", b"\x0a", b"\x0a\x02\xff\xfe", b"\x00\x00", b"\x80" * 11, b"\x0d\x00"]
)
def test_rubbish_is_refused(payload: bytes) -> None:
    with pytest.raises(Malformed):
        model_name(payload)


def test_a_large_request_is_not_walked_through() -> None:
    """Its cost goes by fields, not by bytes: a megabyte in one tensor is skipped."""

    class Counting(bytes):
        reads = 0

        def __getitem__(self, at):  # type: ignore[no-untyped-def]
            Counting.reads += 1
            return super().__getitem__(at)

    request = inference_pb2.ModelInferRequest(model_name="digits", raw_input_contents=[bytes(1 << 20)])
    assert model_name(Counting(request.SerializeToString())).name == "digits"
    assert Counting.reads < 20
