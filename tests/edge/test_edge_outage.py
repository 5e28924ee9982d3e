"""When an agent tells that it is not attached."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.edge.outage import AGAIN_MOST_S, AGAIN_S, Outage, remedy_for

UNAVAILABLE, NOT_FOUND = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND


def test_the_first_failure_is_told_then_ever_fewer() -> None:
    outage = Outage()
    told_s = [now_s for now_s in range(0, 4 * 3600, 5) if outage.failed(UNAVAILABLE, now_s)]
    assert told_s == [0, 60, 180, 420, 900, 1860, 3780, 7380, 10980]
    assert outage.lasted_s(4 * 3600) == 4 * 3600


def test_the_first_failure_of_another_kind_is_told_at_once() -> None:
    outage = Outage()
    assert [outage.failed(code, 0.0) for code in (UNAVAILABLE, NOT_FOUND, UNAVAILABLE, NOT_FOUND)] == [
        True,
        True,
        False,
        False,
    ]
    assert outage.tries == 4


@given(st.lists(st.tuples(st.sampled_from(list(grpc.StatusCode)), st.floats(0.1, 30)), min_size=1, max_size=300))
def test_no_kind_is_missed_and_no_try_floods_the_log(tries: list[tuple[grpc.StatusCode, float]]) -> None:
    outage, now_s, told = Outage(), 0.0, []
    for code, wait_s in tries:
        now_s += wait_s
        if outage.failed(code, now_s):
            told.append(code)
    assert set(told) == {code for code, _ in tries}
    assert len(told) <= len(set(told)) + now_s / AGAIN_S
    assert outage.lasted_s(now_s) <= now_s
    assert AGAIN_S < AGAIN_MOST_S


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_failure_has_a_remedy(code: grpc.StatusCode) -> None:
    assert remedy_for(code)


@pytest.mark.parametrize("said", ["certificate is not yet valid: OK", "certificate has expired: OK"])
def test_a_certificate_out_of_its_dates_is_about_the_clock(said: str) -> None:
    assert "clock" in remedy_for(UNAVAILABLE, f"Tls handshake failed: CERTIFICATE_VERIFY_FAILED: {said}")
    assert "clock" not in remedy_for(UNAVAILABLE, "Connection refused")
