"""How often a leg is probed, what of it is told, and how little a leg at rest costs."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from workers.probe.echo import FIRST_ECHOES, REST_BPS, TRANSFER_EVERY, TRIES, EchoProber
from workers.probe.legs import LegEstimate, LegWindow, RoundTrip, Transfer
from workers.probe.news import is_news
from workers.probe.pace import START, ProbePace, rest_of


def waits_s(pace: ProbePace, *rtts_ms: float) -> list[float]:
    found = []
    for rtt_ms in rtts_ms:
        pace.sampled(rtt_ms)
        found.append(pace.wait_s)
    return found


def test_a_leg_that_stays_as_it_is_is_probed_ever_more_rarely_up_to_its_rest() -> None:
    pace = ProbePace(1.0, rest_s=20.0)
    assert waits_s(pace, *[10.0] * (START - 1)) == [1.0] * (START - 1)
    assert waits_s(pace, *[10.0] * 6) == [2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


def test_a_sample_that_does_not_agree_is_followed_at_once_and_a_new_level_is_soon_the_usual_one() -> None:
    pace = ProbePace(1.0, rest_s=20.0)
    waits_s(pace, *[10.0] * (START + 6))
    assert waits_s(pace, 60.0, 10.0, 10.0) == [1.0, 2.0, 4.0]
    shifted = waits_s(pace, *[60.0] * 12)
    assert shifted[:4] == [1.0] * 4
    assert shifted[-1] == 20.0


def test_a_front_that_wants_to_hear_often_is_probed_as_ever() -> None:
    assert rest_of(1.0) == 0.0
    assert waits_s(ProbePace(1.0, rest_of(1.0)), *[10.0] * 100) == [1.0] * 100
    assert rest_of(10.0) == 20.0


@given(st.lists(st.floats(0.1, 1e4), max_size=80), st.floats(0.05, 60), st.floats(0, 60))
def test_the_wait_is_never_less_than_quick_nor_more_than_rest(
    rtts_ms: list[float], quick_s: float, rest_s: float
) -> None:
    for wait_s in waits_s(ProbePace(quick_s, rest_s), *rtts_ms):
        assert quick_s <= wait_s <= max(quick_s, rest_s)


class Link:
    def __init__(self, rtts_s: list[float]) -> None:
        self.now_s, self.rtts_s, self.echoes, self.sent_bytes = 0.0, rtts_s, 0, 0

    async def echo(self, payload: bytes, reply_bytes: int) -> None:
        self.now_s += self.rtts_s[min(self.echoes, len(self.rtts_s) - 1)] + 8 * (len(payload) + reply_bytes) / 1e7
        self.echoes += 1
        self.sent_bytes += len(payload)


async def taken(prober: EchoProber) -> list[RoundTrip | Transfer]:
    return [sample async for sample in prober.samples()]


async def test_at_rest_one_echo_that_agrees_is_enough_and_a_slow_one_is_tried_again() -> None:
    link = Link([0.01] * TRIES + [0.01, 0.05, 0.01] + [0.05])
    prober = EchoProber(link.echo, now_s=lambda: link.now_s)
    prober.sparing = True
    await taken(prober)
    first = link.echoes
    assert first == TRIES
    await taken(prober)
    assert link.echoes == first + 1
    trip, *transfers = await taken(prober)
    assert isinstance(trip, RoundTrip)
    assert (link.echoes, round(trip.rtt_ms, 6)) == (first + 3, 10.0)
    trip, *transfers = await taken(prober)
    assert isinstance(trip, RoundTrip)
    assert (link.echoes, round(trip.rtt_ms, 6)) == (first + 6 + 2 * len(transfers), 50.0), (
        "a leg that has become slow is tried in vain"
    )


async def test_transfers_at_rest_take_no_more_than_their_share_over_a_month() -> None:
    link = Link([0.01])
    prober = EchoProber(link.echo, now_s=lambda: link.now_s)
    prober.sparing = True
    while link.now_s < 30 * 24 * 3600:
        await taken(prober)
        link.now_s += 200.0
    assert 8 * link.sent_bytes / link.now_s <= 1.01 * REST_BPS
    assert FIRST_ECHOES < TRANSFER_EVERY


def estimate(*rtts_ms: float, bps: float = 1e7) -> LegEstimate:
    window = LegWindow("site/s", "front/f")
    window.add(Transfer(round(bps / 8), 1.0, round(bps / 8), 1.0, "test"), 0.0)
    for rtt_ms in rtts_ms:
        window.add(RoundTrip(rtt_ms, "test"), 0.0)
    found = window.estimate(0.0)
    assert found is not None
    return found


def test_news_is_what_moves_a_decision() -> None:
    told = estimate(10.0, 10.0, 10.0)
    assert is_news(None, told)
    assert not is_news(told, told)
    assert not is_news(told, replace(told, rtt_p50_ms=10.5, newest_age_s=50.0, samples=5))
    assert is_news(told, estimate(13.0, 13.0, 13.0))
    assert is_news(told, estimate(10.0, 10.0, 10.0, bps=2e7))
    assert is_news(told, replace(told, up_bps=None))
    assert is_news(told, replace(told, samples=6))
    assert is_news(told, replace(told, target="front/g"))
    assert not is_news(estimate(0.2, 0.2), estimate(0.3, 0.3)), "hundredths of a millisecond move none"


def test_a_window_at_rest_keeps_what_a_rarely_probed_leg_has_shown() -> None:
    window = LegWindow("site/s", "front/f")
    window.rest(20.0)
    for number in range(40):
        window.add(RoundTrip(10.0, "test"), 20.0 * number)
    found = window.estimate(800.0)
    assert found is not None
    assert found.samples == 40
    window.rest(0.0)
    found = window.estimate(800.0)
    assert found is not None
    assert found.samples < 10
