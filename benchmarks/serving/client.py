"""A closed-loop gRPC load generator on bare sockets: `python -m benchmarks.serving.client HOST:PORT PAYLOAD ...`.

gRPC's Python client costs more per call than the servers measured here; this one writes frames made beforehand and
reads only frame heads, which leaves its core about half idle. One unary call at a time on each of `callers` streams,
over at most eight connections. A call counts when data came before its stream ended; its status is in the trailers,
compressed, so the caller checks one answer beforehand through gRPC itself.
"""

import argparse
import json
import selectors
import socket
import struct
import time
from collections import deque
from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WIDE = 2**31 - 1 - 65_535
MAX_CONNECTIONS = 8


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def request_headers(authority: str) -> bytes:
    """HPACK without its table: each field a literal, not indexed."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/inference.GRPCInferenceService/ModelInfer",
        ":authority": authority,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    packed = (bytes((0, len(k))) + k.encode() + bytes((len(v),)) + v.encode() for k, v in fields.items())
    return b"".join(packed)


class Connection:
    """`streams` callers that share a socket."""

    def __init__(self, host: str, port: int, message: bytes, streams: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.headers = request_headers(f"{host}:{port}")
        self.message = b"\0" + struct.pack(">I", len(message)) + message
        self.window = 65_535
        self.next_stream = 1
        self.begun: dict[int, float] = {}
        self.answered: set[int] = set()
        self.waiting: deque[None] = deque([None] * streams)
        self.rest = b""
        wide = struct.pack(">HI", 4, 2**31 - 1)  # SETTINGS_INITIAL_WINDOW_SIZE
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, wide) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDE)))

    def send_waiting(self) -> None:
        out = []
        while self.waiting and self.window >= len(self.message):
            self.waiting.popleft()
            self.window -= len(self.message)
            stream, self.next_stream = self.next_stream, self.next_stream + 2
            self.begun[stream] = time.perf_counter()
            out.append(frame(HEADERS, END_HEADERS, stream, self.headers))
            out += (frame(DATA, END_STREAM if last else 0, stream, part) for part, last in in_frames(self.message))
        if out:
            self.socket.sendall(b"".join(out))

    def receive(self) -> list[tuple[float, bool]]:
        """(latency in seconds, whether it was answered) of the calls that ended."""
        more = self.socket.recv(262_144)
        if not more:
            raise ConnectionError("the server closed the connection")
        buffer, at, ended = self.rest + more, 0, []
        while at + 9 <= len(buffer):
            size = int.from_bytes(buffer[at : at + 3], "big")
            if at + 9 + size > len(buffer):
                break
            kind, flags, stream = buffer[at + 3], buffer[at + 4], int.from_bytes(buffer[at + 5 : at + 9], "big")
            self.take(kind, flags, stream, buffer, at + 9, size)
            if (kind in (DATA, HEADERS) and flags & END_STREAM) or kind == RST_STREAM:
                ended.append((time.perf_counter() - self.begun.pop(stream), stream in self.answered))
                self.answered.discard(stream)
                self.waiting.append(None)
            at += 9 + size
        self.rest = buffer[at:]
        return ended

    def take(self, kind: int, flags: int, stream: int, buffer: bytes, start: int, size: int) -> None:
        if kind == DATA and size:
            self.answered.add(stream)
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(buffer[start : start + 4], "big")
        elif kind == SETTINGS and not flags & ACK:
            self.socket.sendall(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, buffer[start : start + size]))
        elif kind == GOAWAY:
            raise ConnectionError("the server sent GOAWAY")


def in_frames(message: bytes) -> list[tuple[bytes, bool]]:
    """Frames of at most 16 KiB, HTTP/2's default, and whether each is the last."""
    parts = [message[at : at + 16_384] for at in range(0, len(message), 16_384)]
    return [(part, index == len(parts) - 1) for index, part in enumerate(parts)]


def load(address: str, message: bytes, callers: int, warm_up_s: float, window_s: float) -> dict[str, float]:
    host, _, port = address.rpartition(":")
    connections = min(callers, MAX_CONNECTIONS)
    selector = selectors.DefaultSelector()
    for index in range(connections):
        streams = callers // connections + (index < callers % connections)
        connection = Connection(host, int(port), message, streams)
        connection.send_waiting()
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    start_s = time.perf_counter() + warm_up_s
    end_s, failed, cpu_s, latencies = start_s + window_s, 0, 0.0, []
    calls = 0
    while (now_s := time.perf_counter()) < end_s:
        if not cpu_s and now_s >= start_s:
            cpu_s = time.process_time()
        for key, _ in selector.select(0.2):
            for latency_s, answered in key.data.receive():
                calls += 1
                if now_s >= start_s:
                    latencies.append(latency_s * 1000)
                    failed += not answered
            key.data.send_waiting()
    busy = (time.process_time() - cpu_s) / window_s
    latencies.sort()
    return {
        "rps": len(latencies) / window_s,
        "calls": calls,
        "failed": failed,
        "client_busy": busy,
        **{f"p{q}_ms": latencies[min(len(latencies) - 1, len(latencies) * q // 100)] for q in (50, 99) if latencies},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("payload", type=Path)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--warm-up-s", type=float, default=0.4)
    parser.add_argument("--window-s", type=float, default=1.2)
    options = parser.parse_args()
    message = options.payload.read_bytes()
    print(json.dumps(load(options.address, message, options.callers, options.warm_up_s, options.window_s)))


if __name__ == "__main__":
    main()
