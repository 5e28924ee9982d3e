import itertools

from workers.probe.echo import FIRST_ECHOES, LEAST_BYTES, MOST_BYTES, TRANSFER_EVERY, TRIES, EchoProber
from workers.probe.legs import RoundTrip, Sample, Transfer


class Link:
    """A link with a fixed round trip and throughput, and the clock that its echoes move."""

    def __init__(self, rtt_s: float, up_bps: float, down_bps: float) -> None:
        self.rtt_s, self.up_bps, self.down_bps = rtt_s, up_bps, down_bps
        self.now_s = 0.0
        self.largest_bytes = 0
        self.connect_s = 0.5  # the first echo pays for the connection

    async def echo(self, payload: bytes, reply_bytes: int) -> None:
        self.now_s += self.connect_s + self.rtt_s
        self.now_s += 8 * len(payload) / self.up_bps + 8 * reply_bytes / self.down_bps
        self.connect_s = 0.0
        self.largest_bytes = max(self.largest_bytes, len(payload), reply_bytes)

    def prober(self) -> EchoProber:
        return EchoProber(self.echo, now_s=lambda: self.now_s)


async def take(prober: EchoProber, count: int) -> list[Sample]:
    return [sample for _ in range(count) async for sample in prober.samples()]


async def test_the_round_trip_is_the_links_and_not_the_connections() -> None:
    (first,) = await take(Link(0.020, 1e7, 1e7).prober(), 1)
    assert isinstance(first, RoundTrip)
    assert round(first.rtt_ms, 6) == 20.0
    assert first.method == "grpc-echo-min3"


async def test_throughput_each_way_is_measured_every_tenth_time_less_the_round_trip() -> None:
    samples = await take(Link(0.020, 8e6, 4e7).prober(), FIRST_ECHOES + 2 * TRANSFER_EVERY)
    transfers = [sample for sample in samples if isinstance(sample, Transfer)]
    assert len(transfers) == 3
    for transfer in transfers:
        assert round(8 * transfer.up_bytes / transfer.up_s) == 8_000_000
        assert round(8 * transfer.down_bytes / transfer.down_s) == 40_000_000


async def test_the_payload_follows_the_link() -> None:
    fast, slow = Link(0.001, 1e9, 1e9), Link(0.1, 2e5, 2e5)
    await take(fast.prober(), 20 * TRANSFER_EVERY)
    assert fast.largest_bytes == MOST_BYTES
    prober = slow.prober()
    await take(prober, 5 * TRANSFER_EVERY)
    slow.largest_bytes = 0
    await take(prober, TRANSFER_EVERY)
    assert slow.largest_bytes == LEAST_BYTES


async def test_a_young_prober_wants_its_first_echoes_at_once() -> None:
    prober = Link(0.001, 1e9, 1e9).prober()
    young = []
    for _ in range(FIRST_ECHOES + 2):
        young.append(prober.young)
        await take(prober, 1)
    assert young == [True] * FIRST_ECHOES + [False] * 2


async def test_with_a_handshake_the_tail_is_the_kernels_and_the_median_the_applications() -> None:
    """Every fifth echo waits 60 ms for a busy process; the link itself has a slow moment of 12 ms once."""
    link = Link(0.006, 1e9, 1e9)
    link.connect_s = 0.0
    handshakes_s = [0.004] * 40
    handshakes_s[20] = 0.012
    calls = iter(handshakes_s)
    echoes = itertools.count()

    async def echo(payload: bytes, reply_bytes: int) -> None:
        await link.echo(payload, reply_bytes)
        link.now_s += 0.060 if next(echoes) // TRIES % 5 == 4 else 0.0

    async def handshake() -> float:
        return next(calls)

    prober = EchoProber(echo, handshake, lambda: link.now_s)
    rtts_ms = [round(s.rtt_ms, 6) for s in await take(prober, 40) if isinstance(s, RoundTrip)]
    assert rtts_ms[20] == 14.0
    assert set(rtts_ms[:20] + rtts_ms[21:]) == {6.0}


async def test_a_handshake_that_a_proxy_answers_does_not_shorten_the_link() -> None:
    link = Link(0.080, 1e9, 1e9)
    link.connect_s = 0.0

    async def handshake() -> float:
        return 0.000_1

    prober = EchoProber(link.echo, handshake, lambda: link.now_s)
    (sample,) = await take(prober, 1)
    assert isinstance(sample, RoundTrip)
    assert round(sample.rtt_ms, 6) == 80.0
    assert sample.method == "tcp-handshake+grpc-echo-p50"
