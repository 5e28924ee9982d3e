"""`python -m tests.testbed.garbage HOST PORT SEED`: what no honest caller sends, over plain TCP and over TLS.

Prints how many connections it made. Whatever listens must live on; that is for the test to see.
"""

import contextlib
import random
import socket
import ssl
import sys
from collections.abc import Callable

TIMES = 12
MOST_BYTES = 256 << 10
WAIT_S = 1.0
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def noise(draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(1, MOST_BYTES))


def hello_of_nothing(draw: random.Random) -> bytes:
    """A TLS record that promises a handshake."""
    length = draw.randrange(1 << 14)
    return b"\x16\x03\x01" + length.to_bytes(2, "big") + draw.randbytes(min(length, draw.randrange(1 << 14)))


def http1(draw: random.Random) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"a" * draw.randrange(1 << 16) + b"\r\n\r\n"


def frames(draw: random.Random) -> bytes:
    """HTTP/2 as it begins, then frames of any kind, length and stream."""
    made = [HTTP2, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"]
    for _ in range(draw.randrange(1, 50)):
        body = draw.randbytes(draw.randrange(64))
        told = len(body) if draw.random() < 0.8 else draw.randrange(1 << 24)
        made.append(told.to_bytes(3, "big") + draw.randbytes(6) + body)
    return b"".join(made)


def silence(_: random.Random) -> bytes:
    return b""


KINDS: tuple[Callable[[random.Random], bytes], ...] = (noise, hello_of_nothing, http1, frames, silence)


def send(host: str, port: int, data: bytes, tls: bool) -> None:
    with contextlib.suppress(OSError), socket.create_connection((host, port), WAIT_S) as plain:
        stream: socket.socket = _in_tls(plain) if tls else plain
        stream.sendall(data)
        with contextlib.suppress(TimeoutError):
            stream.settimeout(0.05)
            stream.recv(1 << 16)


def _in_tls(plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(plain)


def main() -> None:
    host, port, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    draw, made = random.Random(seed), 0
    for _ in range(TIMES):
        for kind in KINDS:
            send(host, port, kind(draw), tls=draw.random() < 0.5)
            made += 1
    print(made)


if __name__ == "__main__":
    main()
