"""Times one TCP handshake, by the kernel's own clock.

The kernel at the far end answers a SYN, and the kernel at this end notes when: no process has to wake up in between, so
that a busy machine at either end does not pass for a long link.
"""

import asyncio
import socket
import struct
import time

# struct tcp_info, linux/tcp.h: 8 one-byte fields, then 32-bit ones, of which tcpi_rtt, in microseconds, is the 16th.
_RTT_OFFSET = 8 + 15 * 4
_RTT = struct.Struct("=I")


async def handshake_s(host: str, port: int, timeout_s: float) -> float:
    """Round trip of one handshake. Raises OSError (TimeoutError included) when nobody answers."""
    start_s = time.perf_counter()
    async with asyncio.timeout(timeout_s):
        _, writer = await asyncio.open_connection(host, port)
    elapsed_s = time.perf_counter() - start_s
    try:
        # A handshake whose SYN was sent twice has no round trip of its own: the kernel says 0.
        return _kernel_rtt_s(writer.get_extra_info("socket")) or elapsed_s
    finally:
        writer.close()


def _kernel_rtt_s(connected: socket.socket) -> float | None:
    """None where the system does not tell."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_OFFSET + _RTT.size)
    return float(_RTT.unpack_from(info, _RTT_OFFSET)[0]) / 1e6
