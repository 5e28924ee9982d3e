"""Reads the model's name and version out of an encoded OIP request, without decoding the rest.

ModelInferRequest has them in fields 1 and 2, and so have ModelReadyRequest and ModelMetadataRequest. The request is
forwarded as the bytes it came as: encoding a 602 KB request anew costs over a millisecond (STACK.md section 9).
"""

from typing import NamedTuple

_NAME, _VERSION = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class Malformed(ValueError):
    """The bytes are not a protobuf message."""


class ModelName(NamedTuple):
    name: str
    version: str


def model_name(payload: bytes) -> ModelName:
    """Raises Malformed. A repeated field counts with its last value, as protobuf says."""
    found = {_NAME: b"", _VERSION: b""}
    at, end = 0, len(payload)
    while at < end:
        tag, at = _varint(payload, at)
        field, kind = tag >> 3, tag & 7
        if not field:
            raise Malformed(f"field number 0 at byte {at}")
        start, at = _skip(payload, at, kind)
        if kind == _BYTES and field in found:
            found[field] = payload[start:at]
    try:
        return ModelName(found[_NAME].decode(), found[_VERSION].decode())
    except UnicodeDecodeError as err:
        raise Malformed("model_name or model_version is not UTF-8") from err


def _skip(payload: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where the field's value starts and ends."""
    if kind == _VARINT:
        return at, _varint(payload, at)[1]
    if kind == _BYTES:
        size, at = _varint(payload, at)
    elif kind in (_FIXED64, _FIXED32):
        size = 8 if kind == _FIXED64 else 4
    else:
        raise Malformed(f"wire type {kind} at byte {at}")  # groups: OIP has none
    if at + size > len(payload):
        raise Malformed(f"a field of {size} bytes at byte {at} runs past the end at {len(payload)}")
    return at, at + size


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_LONGEST_VARINT):
        if at >= len(payload):
            break
        byte = payload[at]
        at += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at
    raise Malformed(f"number cut short at byte {at}")
