"""A stand-in for a wide-area link: a TCP relay that delays and limits each direction. Skerry is told nothing of it.

As a program it prints the port that it listens on; a line on stdin changes a setting: `delay_ms 60` (one way) or
`mbps 5` (each way) or `cut` (close all, refuse new ones) or `mend`.
"""

import argparse
import asyncio
import contextlib
import sys
from dataclasses import dataclass, field

BLOCK_BYTES = 16 * 1024
MOST_UNDER_WAY = 256  # blocks on the wire per direction: what a long link holds


@dataclass(slots=True)
class Wan:
    """One link; settings may change while connections live."""

    to_host: str
    to_port: int
    delay_ms: float
    mbps: float
    cut: bool = False
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._connection, "127.0.0.1", port)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            writer.close()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self.to_host, self.to_port)
        except OSError:
            writer.close()
            return
        ends = {writer, far_writer}
        self.open |= ends
        flows = [asyncio.create_task(f) for f in (self._flow(reader, far_writer), self._flow(far_reader, writer))]
        await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        for flow in flows:
            flow.cancel()
        await asyncio.gather(*flows, return_exceptions=True)
        for end in ends:
            end.close()
        self.open -= ends

    async def _flow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction: a block leaves when the line is free and arrives `delay_ms` later."""
        on_the_wire: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_UNDER_WAY)
        delivering = asyncio.create_task(_deliver(on_the_wire, writer))
        loop, free_at_s = asyncio.get_running_loop(), 0.0
        try:
            while block := await reader.read(BLOCK_BYTES):
                free_at_s = max(free_at_s, loop.time()) + len(block) * 8 / (self.mbps * 1e6)
                await on_the_wire.put((free_at_s + self.delay_ms / 1000, block))
            await on_the_wire.put((loop.time() + self.delay_ms / 1000, b""))
            await delivering
        finally:
            delivering.cancel()

    def close_all(self) -> None:
        for end in list(self.open):
            end.transport.abort()


async def _deliver(on_the_wire: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        at_s, block = await on_the_wire.get()
        await asyncio.sleep(max(0.0, at_s - loop.time()))
        if not block:
            return
        if writer.is_closing():
            return
        writer.write(block)
        with contextlib.suppress(ConnectionError):
            await writer.drain()


async def _obey(wan: Wan) -> None:
    lines = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := (await lines.readline()).decode().split():
        match line:
            case ["delay_ms", value]:
                wan.delay_ms = float(value)
            case ["mbps", value]:
                wan.mbps = float(value)
            case ["cut"]:
                wan.cut = True
                wan.close_all()
            case ["mend"]:
                wan.cut = False


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, help="host:port")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, required=True, help="one way")
    parser.add_argument("--mbps", type=float, required=True, help="each way")
    arguments = parser.parse_args()
    host, _, port = arguments.to.rpartition(":")
    wan = Wan(host, int(port), arguments.delay_ms, arguments.mbps)
    server = await wan.serve(arguments.port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await _obey(wan)  # until its owner closes the pipe
    server.close()
    wan.close_all()
    await asyncio.sleep(0.1)  # the connections' tasks see their ends closed


if __name__ == "__main__":
    asyncio.run(_main())
