"""explain with what would help, and then that done. The loops and the API over the real store and the real wire."""

import asyncio
import json
from typing import Any

import grpc
import pytest

from protos.control.v1 import control_pb2
from tests.control.fakes import FrontInHand, Running, until, until_status
from tests.control.test_control_plane import PLACES, POLICY, SERVICE, address, front, running, version

__all__ = ["address", "front", "running"]
pytestmark = pytest.mark.real


async def explained(running: Running, remedies: bool = True, limit_s: float = 20.0) -> control_pb2.ExplainReply:
    """A bounded poll, as `fakes.until`: at first no decision is made, and there is no event for the first one."""
    request = control_pb2.ExplainRequest(namespace="default", service="digits", remedies=remedies)
    end_s = asyncio.get_running_loop().time() + limit_s
    while True:
        try:
            reply = await running.control.Explain(request)
        except grpc.aio.AioRpcError as err:
            if err.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        else:
            if len(_too_slow(json.loads(reply.decision_json))) == 3:
                return reply
        assert asyncio.get_running_loop().time() < end_s
        await asyncio.sleep(0.05)


def _too_slow(placement: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in placement["refused"] if one["reason"] == "too-slow"]


async def test_what_explain_says_would_help_does(running: Running, front: FrontInHand) -> None:
    """Every site is farther than 2 ms; what the region needs, the nearest, is told with its price."""
    await running.apply(PLACES + "---" + POLICY % 2 + "---" + version("digits-1") + "---" + SERVICE)
    reply = await explained(running)
    placement = json.loads(reply.decision_json)
    (left,) = placement["unserved"]
    (count,) = left["refused"]
    assert ([one["site"] for one in count["nearest"]], count["sites"]) == (["local", "edge-a", "edge-b"], 3)
    assert count["nearest"][0]["terms"]["round_trip_ms"] == 2.0
    (remedy,) = (json.loads(one) for one in reply.remedies_json)
    found: dict[str, Any] = remedy["relaxation"]
    assert (remedy["zone"], remedy["share"]) == ("city", 1.0)
    assert (found["field"], found["before"], found["sites"], found["left"]) == ("latency.p99_ms", 2.0, ["local"], 0.0)
    assert found["usd_per_hour"] > 0
    assert found["unserved_usd_per_hour"] == pytest.approx(-10 * 3_600)
    await running.apply(POLICY % found["after"])
    await until("a route to the region", lambda: front.sites_in_use() == {"local": 1.0})
    await until_status(running, "ModelService", "digits", "Ready")


async def test_what_would_help_is_looked_for_only_when_asked(running: Running, front: FrontInHand) -> None:
    await running.apply(PLACES + "---" + POLICY % 2 + "---" + version("digits-1") + "---" + SERVICE)
    assert list((await explained(running, remedies=False)).remedies_json) == []
