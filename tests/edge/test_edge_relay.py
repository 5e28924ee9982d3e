"""Relayed calls: their limits, their ends, and what a bug in a model's way looks like from outside."""

import asyncio
import threading
from collections.abc import Mapping

import grpc
import pytest
from fake_front import FakeFront

from workers.edge.channels import open_channel
from workers.edge.relay import RelayServer
from workers.inference.dataplane import Reply
from workers.inference.errors import ModelUnknown

pytestmark = pytest.mark.real


class Answers:
    """Answers a payload with itself; "wait" waits until it may, "bug" raises what no model should."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.seen: list[bytes] = []
        self.began = threading.Semaphore(0)

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        self.seen.append(payload)
        self.began.release()
        if payload.startswith(b"wait"):
            assert self.may.wait(20)
        if payload == b"bug":
            raise ZeroDivisionError("secret")
        if payload == b"unknown":
            raise ModelUnknown("x", "", ["y"])
        return Reply(payload, {"method": method, **metadata})


class Relayed:
    """A relay server of two threads and four calls, served to a front."""

    def __init__(self, front: FakeFront) -> None:
        self.front, self.answers = front, Answers()
        self.server = RelayServer(self.answers, threads=2, most_calls=4)

    async def began(self, calls: int = 1) -> None:
        for _ in range(calls):
            assert await asyncio.to_thread(self.answers.began.acquire, timeout=20)


@pytest.fixture
async def relayed(front: FakeFront):
    relayed = Relayed(front)
    async with open_channel(front.address) as channel:
        serving = asyncio.create_task(relayed.server.serve(channel, "n1", "session-1"))
        await front.until(lambda: front.relay_hellos, "a relay hello")
        yield relayed
        relayed.answers.may.set()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await relayed.server.leave(5)


async def test_an_answer_carries_payload_and_metadata(relayed: Relayed) -> None:
    result = await relayed.front.relay("ModelInfer", b"hello", incarnation="i1", metadata={"skerry-namespace": "plant"})
    assert (result.code, result.payload) == (0, b"hello")
    method = "/inference.GRPCInferenceService/ModelInfer"
    assert dict(result.metadata) == {"method": method, "skerry-namespace": "plant", "skerry-incarnation": "i1"}
    assert relayed.front.relay_hellos[0].node == "n1"


async def test_refusals_and_bugs(relayed: Relayed) -> None:
    unknown = await relayed.front.relay("ModelInfer", b"unknown")
    assert (unknown.code, "'y'" in unknown.message) == (grpc.StatusCode.NOT_FOUND.value[0], True)
    bug = await relayed.front.relay("ModelInfer", b"bug")
    assert bug.code == grpc.StatusCode.INTERNAL.value[0]
    assert "secret" not in bug.message


async def test_more_calls_than_it_takes_are_refused_and_places_come_back(relayed: Relayed) -> None:
    waiting = [relayed.front.relay_started("ModelInfer", b"wait")[1] for _ in range(4)]
    await relayed.began(2)
    refused = await relayed.front.relay("ModelInfer", b"one more")
    assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert "4" in refused.message
    relayed.answers.may.set()
    assert [(await future).code for future in waiting] == [0] * 4
    assert (await relayed.front.relay("ModelInfer", b"again")).payload == b"again"


async def test_a_deadline_is_kept_and_a_call_that_waited_too_long_is_never_run(relayed: Relayed) -> None:
    busy = [relayed.front.relay_started("ModelInfer", b"wait")[1] for _ in range(2)]
    await relayed.began(2)
    late = await relayed.front.relay("ModelInfer", b"late", timeout_ms=20)
    assert late.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    assert "20" in late.message
    relayed.answers.may.set()
    for future in busy:
        await future
    await relayed.front.relay("ModelInfer", b"next")
    assert b"late" not in relayed.answers.seen


async def test_a_cancelled_call_is_not_run_and_not_answered(relayed: Relayed) -> None:
    busy = [relayed.front.relay_started("ModelInfer", b"wait")[1] for _ in range(2)]
    await relayed.began(2)
    number, cancelled = relayed.front.relay_started("ModelInfer", b"cancelled")
    relayed.front.relay_cancel(number)
    assert (await relayed.front.relay("ModelInfer", b"late", timeout_ms=20)).code != 0  # came after the cancel
    relayed.answers.may.set()
    for future in busy:
        await future
    await relayed.front.relay("ModelInfer", b"next")
    assert b"cancelled" not in relayed.answers.seen
    assert not cancelled.done()


async def test_leaving_finishes_what_is_under_way_and_takes_no_more(relayed: Relayed) -> None:
    under_way = relayed.front.relay_started("ModelInfer", b"wait")[1]
    await relayed.began()
    leaving = asyncio.create_task(relayed.server.leave(10))
    await asyncio.sleep(0)
    assert (await relayed.front.relay("ModelInfer", b"new")).code == grpc.StatusCode.UNAVAILABLE.value[0]
    relayed.answers.may.set()
    assert (await under_way).code == 0
    await leaving
