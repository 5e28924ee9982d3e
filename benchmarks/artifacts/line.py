"""A stand-in for a node's WAN: a TCP relay that limits what goes to the node, and counts it."""

import asyncio
import contextlib
from dataclasses import dataclass

BLOCK_BYTES = 16 * 1024


@dataclass(slots=True)
class Line:
    """`mbps` 0: no limit. All connections share it."""

    to_port: int
    mbps: float = 0.0
    to_nodes_bytes: int = 0
    _free_at_s: float = 0.0

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._connection, "127.0.0.1", 0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        flows = [asyncio.create_task(_copy(reader, far_writer)), asyncio.create_task(self._down(far_reader, writer))]
        await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        for flow in flows:
            flow.cancel()
        await asyncio.gather(*flows, return_exceptions=True)
        for end in (writer, far_writer):
            end.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while block := await reader.read(BLOCK_BYTES):
            if self.mbps:
                self._free_at_s = max(self._free_at_s, loop.time()) + len(block) * 8 / (self.mbps * 1e6)
                await asyncio.sleep(self._free_at_s - loop.time())
            if writer.is_closing():
                return
            self.to_nodes_bytes += len(block)
            writer.write(block)
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while block := await reader.read(BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
