"""The front's own leg: to the region whose control plane it dials."""

import asyncio
import logging

import grpc.aio

from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.identity.connecting import Connector
from workers.identity.names import Role
from workers.probe.echo import EchoProber
from workers.probe.handshake import handshake_s
from workers.probe.legs import LegWindow
from workers.probe.wire import leg_message

log = logging.getLogger(__name__)

PERIOD_S = 0.25  # it costs next to nothing; a p99 wants many samples
ECHO_TIMEOUT_S = 5.0


class RegionLeg:
    """Probes over a connection of its own, so that it does not measure our reports."""

    def __init__(self, address: str, front: str, region: str, connector: Connector) -> None:
        self._address, self._connector = address, connector
        self._window = LegWindow(f"front/{front}", f"region/{region}")

    def estimates(self, now_s: float) -> list[link_pb2.LegEstimate]:
        estimate = self._window.estimate(now_s)
        return [] if estimate is None else [leg_message(estimate)]

    async def probe(self) -> None:
        """Until cancelled. An unreachable control plane leaves the estimate to age."""
        options = (("grpc.max_reconnect_backoff_ms", 1000), ("grpc.use_local_subchannel_pool", 1))
        async with self._connector.aio(self._address, Role.CONTROL, options) as channel:
            stub = link_pb2_grpc.ProbeStub(channel)

            async def echo(payload: bytes, reply_bytes: int) -> None:
                await stub.Echo(link_pb2.EchoRequest(payload=payload, reply_bytes=reply_bytes), timeout=ECHO_TIMEOUT_S)

            host, _, port = self._address.rpartition(":")
            prober = EchoProber(echo, lambda: handshake_s(host.strip("[]"), int(port), ECHO_TIMEOUT_S))
            while True:
                await self._sample(prober)
                if not prober.young:
                    await asyncio.sleep(PERIOD_S)

    async def _sample(self, prober: EchoProber) -> None:
        try:
            async for sample in prober.samples():
                self._window.add(sample, asyncio.get_running_loop().time())
        except grpc.aio.AioRpcError as err:
            await self._not_probed(f"{err.code().name}: {err.details()}")
        except OSError as err:
            await self._not_probed(str(err))

    async def _not_probed(self, reason: str) -> None:
        log.debug("region not probed", extra={"reason": reason})
        await asyncio.sleep(PERIOD_S)
