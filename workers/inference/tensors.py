"""Tensors between the protocol's forms and numpy's.

Raw form: row-major, little-endian, no padding; BYTES as a 4-byte little-endian length and the bytes, per element
(Triton's practice, which the public clients follow). Typed form: one repeated field per family of datatypes; FP16 and
BF16 have none. BYTES is an object array of `bytes`: numpy's own byte strings drop trailing zeros.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protos.inference.v2 import inference_pb2 as pb
from workers.inference.errors import BadTensor

Array = npt.NDArray[Any]  # the element type is a fact of the wire, known only when a request arrives
Raw = bytes | memoryview
SMALL_BYTES = 16_384  # below it a copy is cheaper than the views it saves
MAX_RANK = 32  # numpy ends at 64


@dataclass(frozen=True, slots=True)
class Datatype:
    """`field`: of InferTensorContents; empty when the protocol has no typed form."""

    name: str
    item_bytes: int
    field: str
    dtype: str


DATATYPES = {
    datatype.name: datatype
    for datatype in (
        Datatype("BOOL", 1, "bool_contents", "?"),
        Datatype("INT8", 1, "int_contents", "<i1"),
        Datatype("INT16", 2, "int_contents", "<i2"),
        Datatype("INT32", 4, "int_contents", "<i4"),
        Datatype("INT64", 8, "int64_contents", "<i8"),
        Datatype("UINT8", 1, "uint_contents", "<u1"),
        Datatype("UINT16", 2, "uint_contents", "<u2"),
        Datatype("UINT32", 4, "uint_contents", "<u4"),
        Datatype("UINT64", 8, "uint64_contents", "<u8"),
        Datatype("FP16", 2, "", "<f2"),
        Datatype("BF16", 2, "", "bfloat16"),
        Datatype("FP32", 4, "fp32_contents", "<f4"),
        Datatype("FP64", 8, "fp64_contents", "<f8"),
        Datatype("BYTES", 0, "bytes_contents", "O"),
    )
}
# Resolved once: making a numpy dtype from its name costs a tenth of a tiny model's call.
_DTYPES = {name: np.dtype(datatype.dtype) for name, datatype in DATATYPES.items() if name != "BF16"}
_NAMES = {dtype.name: name for name, dtype in _DTYPES.items()} | {"bfloat16": "BF16"}


def datatype_of(dtype: npt.DTypeLike) -> str | None:
    """The protocol's name for a numpy type; None where it has none (complex, quantised four bits)."""
    resolved = np.dtype(dtype)
    return "BYTES" if resolved.kind in "SUO" else _NAMES.get(resolved.name)


def numpy_type(datatype: str) -> np.dtype[Any]:
    """Raises BadTensor for an unknown name, and for BF16 where ml_dtypes, which numpy then needs, is not installed."""
    if (found := _DTYPES.get(datatype)) is not None:
        return found
    if datatype == "BF16":
        try:
            import ml_dtypes
        except ImportError as err:
            raise BadTensor("datatype BF16 needs ml_dtypes, which this server does not have; send FP32") from err
        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    raise BadTensor(f"datatype {datatype[:40]!r} is not known; use one of {', '.join(DATATYPES)}")


def read_raw(name: str, datatype: str, shape: Sequence[int], raw: Raw) -> Array:
    """A read-only view of `raw` (a new array for BYTES). Raises BadTensor with both numbers."""
    dtype = numpy_type(datatype)
    count = element_count(name, shape)
    if datatype == "BYTES":
        return _objects(_split_elements(name, bytes(raw), count), shape)
    want = count * dtype.itemsize
    if len(raw) != want:
        raise BadTensor(f"input {name!r}: {datatype} x {list(shape)} is {want} bytes, raw content has {len(raw)}")
    return np.frombuffer(raw, dtype).reshape(shape)


def read_typed(name: str, datatype: str, shape: Sequence[int], contents: pb.InferTensorContents) -> Array:
    """Raises BadTensor: another field is filled, a wrong number of values, or one that the datatype cannot hold."""
    dtype = numpy_type(datatype)
    field = DATATYPES[datatype].field
    if not field:
        raise BadTensor(f"input {name!r}: {datatype} has no typed form; send it in raw_input_contents")
    count = element_count(name, shape)
    values = getattr(contents, field)
    if others := [other.name for other, _ in contents.ListFields() if other.name != field]:
        raise BadTensor(f"input {name!r}: {datatype} belongs in {field}, but {', '.join(others)} is filled")
    if len(values) != count:
        raise BadTensor(f"input {name!r}: shape {list(shape)} holds {count} elements, {field} has {len(values)}")
    if datatype == "BYTES":
        return _objects(list(values), shape)
    array: Array = np.array(values, dtype)
    # The fields for small integers are wider than those, and numpy wraps in silence.
    if dtype.kind in "iu" and dtype.itemsize < 4 and not np.array_equal(array, np.array(values)):
        raise BadTensor(f"input {name!r}: {field} has a value that {datatype} cannot hold")
    return array.reshape(shape)


def element_count(name: str, shape: Sequence[int]) -> int:
    """Raises BadTensor for a size below 1: with none, no size is larger than the content, so no shape costs memory."""
    if len(shape) > MAX_RANK:
        raise BadTensor(f"input {name!r}: {len(shape)} dimensions; at most {MAX_RANK} are possible")
    count = math.prod(shape)
    if shape and min(shape) < 1:
        raise BadTensor(f"input {name!r}: shape {list(shape)} has a size below 1; send at least one element")
    return count


def raw_of(array: Array, datatype: str) -> memoryview | bytes:
    """The raw form as a flat buffer; a large array that is contiguous already is not copied."""
    if datatype == "BYTES":
        elements = [element_bytes(element) for element in array.ravel()]
        return b"".join(part for element in elements for part in (len(element).to_bytes(4, "little"), element))
    if array.nbytes <= SMALL_BYTES:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def fill_typed(contents: pb.InferTensorContents, array: Array, datatype: str) -> None:
    """The datatype has a typed form."""
    values = array.ravel()
    flat = [element_bytes(element) for element in values] if datatype == "BYTES" else values.tolist()
    getattr(contents, DATATYPES[datatype].field).extend(flat)


def element_bytes(element: str | bytes) -> bytes:
    """Runtimes give text either way."""
    return element.encode() if isinstance(element, str) else element


def _split_elements(name: str, raw: bytes, count: int) -> list[bytes]:
    if len(raw) < 4 * count:
        raise BadTensor(
            f"input {name!r}: {count} BYTES elements need at least {4 * count} bytes, raw content has {len(raw)}"
        )
    elements: list[bytes] = []
    offset = 0
    for index in range(count):
        start = offset + 4
        offset = start + int.from_bytes(raw[offset:start], "little")
        if start > len(raw) or offset > len(raw):
            raise BadTensor(f"input {name!r}: BYTES element {index} ends at byte {offset}, raw content at {len(raw)}")
        elements.append(raw[start:offset])
    if offset != len(raw):
        raise BadTensor(f"input {name!r}: {count} BYTES elements end at byte {offset}, raw content at {len(raw)}")
    return elements


def _objects(elements: Sequence[bytes], shape: Sequence[int]) -> Array:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)
