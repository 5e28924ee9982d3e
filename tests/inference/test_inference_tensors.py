"""The codec: what goes in comes out, and what is malformed is refused with both numbers."""

import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protos.inference.v2 import inference_pb2 as pb
from workers.inference.errors import BadTensor
from workers.inference.tensors import (
    DATATYPES,
    datatype_of,
    fill_typed,
    numpy_type,
    raw_of,
    read_raw,
    read_typed,
)

shapes = hnp.array_shapes(min_dims=0, max_dims=4, max_side=5)
numeric = st.sampled_from([name for name in DATATYPES if name not in ("BYTES", "BF16")])
quick = settings(deadline=None, derandomize=True)


@st.composite
def tensors(draw, datatypes=numeric):
    datatype = draw(datatypes)
    return datatype, draw(hnp.arrays(numpy_type(datatype), draw(shapes)))


@st.composite
def texts(draw):
    shape = draw(shapes)
    flat = draw(st.lists(st.binary(max_size=9), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    array = np.empty(len(flat), object)
    array[:] = flat
    return "BYTES", array.reshape(shape)


@quick
@given(tensors() | texts())
def test_raw_round_trip(tensor):
    datatype, array = tensor
    again = read_raw("x", datatype, array.shape, bytes(raw_of(array, datatype)))
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


@quick
@given(tensors(numeric.filter(lambda name: name != "FP16")) | texts())
def test_typed_round_trip(tensor):
    datatype, array = tensor
    contents = pb.InferTensorContents()
    fill_typed(contents, array, datatype)
    again = read_typed("x", datatype, array.shape, pb.InferTensorContents.FromString(contents.SerializeToString()))
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


def test_raw_is_little_endian_row_major_and_bytes_carry_their_length():
    assert bytes(raw_of(np.array([[1, 2], [3, 256]], np.int16), "INT16")) == b"\1\0\2\0\3\0\0\1"
    assert raw_of(np.array([b"ab", b""], object), "BYTES") == b"\2\0\0\0ab\0\0\0\0"


def test_a_view_that_is_not_contiguous_is_written_in_row_major_order():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert bytes(raw_of(array.T, "UINT8")) == bytes([0, 3, 1, 4, 2, 5])


@quick
@given(tensors(), st.binary(min_size=1, max_size=9), st.booleans())
def test_raw_of_another_size_names_both_sizes(tensor, extra, cut):
    datatype, array = tensor
    raw = bytes(raw_of(array, datatype))
    wrong = raw[:-1] if cut else raw + extra
    with pytest.raises(BadTensor, match=rf"is {len(raw)} bytes, raw content has {len(wrong)}$"):
        read_raw("x", datatype, array.shape, wrong)


@quick
@given(texts(), st.data())
def test_truncated_bytes_elements_are_refused(tensor, data):
    _, array = tensor
    raw = raw_of(array, "BYTES")
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(BadTensor, match="BYTES element"):
        read_raw("x", "BYTES", array.shape, raw[:cut])


@quick
@given(st.sampled_from(sorted(DATATYPES)), st.lists(st.integers(-3, 2**62), max_size=40), st.binary(max_size=64))
def test_any_shape_and_bytes_end_in_an_array_or_in_bad_tensor(datatype, shape, raw):
    with suppress(BadTensor):
        assert list(read_raw("x", datatype, shape, raw).shape) == shape


@pytest.mark.parametrize("shape", [[0], [2, 0], [-1, 4], [1] * 33])
def test_a_shape_that_no_request_can_have(shape):
    with pytest.raises(BadTensor, match="'x'"):
        read_raw("x", "FP32", shape, b"")


@pytest.mark.parametrize(
    ("datatype", "contents", "said"),
    [
        ("INT8", {"int_contents": [1, 300]}, "int_contents has a value that INT8 cannot hold"),
        ("UINT8", {"uint_contents": [1, 256]}, "uint_contents has a value that UINT8 cannot hold"),
        ("FP32", {"fp32_contents": [1.0]}, r"shape \[2\] holds 2 elements, fp32_contents has 1"),
        ("FP32", {}, r"shape \[2\] holds 2 elements, fp32_contents has 0"),
        ("FP32", {"fp64_contents": [1.0, 2.0]}, "FP32 belongs in fp32_contents, but fp64_contents is filled"),
        ("FP16", {"fp32_contents": [1.0, 2.0]}, "FP16 has no typed form; send it in raw_input_contents"),
        ("BF16", {"fp32_contents": [1.0, 2.0]}, "BF16 has no typed form; send it in raw_input_contents"),
        ("FP8", {}, "datatype 'FP8' is not known"),
    ],
)
def test_typed_contents_that_do_not_fit(datatype, contents, said):
    with pytest.raises(BadTensor, match=said):
        read_typed("x", datatype, [2], pb.InferTensorContents(**contents))


def test_bf16_is_read_and_written_where_ml_dtypes_is_installed():
    array = np.array([[1.0, -2.5]], numpy_type("BF16"))
    again = read_raw("x", "BF16", [1, 2], bytes(raw_of(array, "BF16")))
    assert datatype_of(again.dtype) == "BF16"
    assert again.astype(np.float32).tolist() == [[1.0, -2.5]]


def test_bf16_without_ml_dtypes_says_what_to_send(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(BadTensor, match=r"BF16 needs ml_dtypes.*; send FP32"):
        read_raw("x", "BF16", [1], b"\0\0")


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype("M8[s]")])
def test_types_without_a_name_in_the_protocol(dtype):
    assert datatype_of(dtype) is None
