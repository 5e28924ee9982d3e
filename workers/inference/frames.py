"""Calls between the agent and a model in a process of its own: frames on a socket pair, one call at a time on each.

Not gRPC: on this way, which nobody else walks, a frame takes 70 us where gRPC over a Unix socket takes 450
(docs/decisions/0022-replicas-apart.md).
"""

import json
import socket
import struct
from collections.abc import Mapping

from workers.inference.dataplane import MAX_MESSAGE_BYTES

# A request: lengths of method, metadata and payload. A reply: gRPC status code, lengths of metadata and payload; the
# payload of another code than 0 is its message.
_HEAD = struct.Struct("<III")
_MOST_BYTES = MAX_MESSAGE_BYTES + (1 << 20)  # an answer has a head of its own


class Closed(Exception):
    """The other end is gone, or it speaks something else."""


def send_request(lane: socket.socket, method: str, metadata: Mapping[str, str], payload: bytes) -> None:
    """Raises OSError, TimeoutError among them."""
    name, head = method.encode(), json.dumps(dict(metadata)).encode() if metadata else b""
    _send(lane, _HEAD.pack(len(name), len(head), len(payload)) + name + head, payload)


def receive_request(lane: socket.socket) -> tuple[str, dict[str, str], bytes]:
    """Raises Closed, OSError; MemoryError where the payload has no room, and then the next request may be received."""
    method, metadata, payload = _HEAD.unpack(_receive(lane, _HEAD.size))
    return _text(_receive(lane, method)), _metadata(_receive(lane, metadata)), _receive(lane, payload)


def send_reply(lane: socket.socket, code: int, metadata: Mapping[str, str], payload: bytes) -> None:
    """Raises OSError."""
    head = json.dumps(dict(metadata)).encode() if metadata else b""
    _send(lane, _HEAD.pack(code, len(head), len(payload)) + head, payload)


def receive_reply(lane: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Raises Closed, OSError, TimeoutError among them."""
    code, metadata, payload = _HEAD.unpack(_receive(lane, _HEAD.size))
    return code, _metadata(_receive(lane, metadata)), _receive(lane, payload)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        raise Closed(f"{len(data)} bytes that are no text") from err


def _metadata(data: bytes) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(data) if data else {}
    except ValueError as err:
        raise Closed(f"{len(data)} bytes that are no metadata") from err
    return found


def _send(lane: socket.socket, head: bytes, payload: bytes) -> None:
    if len(payload) <= 1 << 16:  # one system call is cheaper than a copy of so little
        lane.sendall(head + payload)
        return
    lane.sendall(head)
    lane.sendall(payload)


def _receive(lane: socket.socket, size_bytes: int) -> bytes:
    if size_bytes == 0:
        return b""
    if size_bytes > _MOST_BYTES:
        raise Closed(f"a frame of {size_bytes} bytes, {_MOST_BYTES} at most")
    try:
        first = lane.recv(size_bytes, socket.MSG_WAITALL)  # whole, where the socket has no timeout
    except MemoryError:
        _discard(lane, size_bytes)
        raise
    if len(first) == size_bytes:
        return first
    buffer = bytearray(first)
    while len(buffer) < size_bytes:
        piece = lane.recv(min(size_bytes - len(buffer), 1 << 20))
        if not piece:
            raise Closed(f"the stream ended after {len(buffer)} of {size_bytes} bytes")
        buffer += piece
    return bytes(buffer)


def _discard(lane: socket.socket, size_bytes: int) -> None:
    while size_bytes > 0 and (piece := lane.recv(min(size_bytes, 1 << 16))):
        size_bytes -= len(piece)
