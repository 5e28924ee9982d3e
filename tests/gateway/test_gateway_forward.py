"""Forwarding: what is tried, in what order, for how long, and what the caller sees."""

import asyncio

import grpc
import pytest
from fake_transport import FakeTransport, answer_after, fail, hang
from hypothesis import given, settings
from hypothesis import strategies as st
from swift_loop import run_swiftly

from protos.inference.v2 import inference_pb2
from workers.gateway.budget import BURST
from workers.gateway.choice import Route, RouteTable, ServiceKey, ServiceRoutes
from workers.gateway.forward import DEFAULT_DEADLINE_S, PATIENCE_S, Gateway
from workers.gateway.transport import Answer, Metadata, TransportError

INFER = "/inference.GRPCInferenceService/ModelInfer"
DIGITS = ServiceKey("default", "digits")
REQUEST = inference_pb2.ModelInferRequest(model_name="digits", raw_input_contents=[b"pixels"]).SerializeToString()
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def route(name: str, share: float = 0.0, predicted_ms: float = 1.0) -> Route:
    return Route(name, f"{name}-1", f"site-{name}", "v1", share, predicted_ms, address="127.0.0.1:1")


def gateway(transport: FakeTransport, *routes: Route) -> Gateway:
    """All of `routes` in the order given: shares fall."""
    made = Gateway(transport, "here", random_unit=lambda: 0.0)
    ranked = [route(each.replica, 1.0 / 2**at, each.predicted_ms) for at, each in enumerate(routes)]
    made.use(RouteTable(1, {DIGITS: ServiceRoutes("v1", "decision-1", {"": tuple(ranked), "there": tuple(ranked)})}))
    return made


async def infer(front: Gateway, deadline_s: float | None = None, metadata: Metadata = ()) -> Answer:
    return await front.infer(INFER, REQUEST, metadata, deadline_s)


async def refusal(front: Gateway, payload: bytes = REQUEST, deadline_s: float | None = None) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await front.infer(INFER, payload, (), deadline_s)
    return caught.value


def test_bytes_and_metadata_pass_and_the_answer_says_who() -> None:
    async def main() -> None:
        transport = FakeTransport()
        sent = (("x-request-id", "7"), ("user-agent", "tritonclient"), ("skerry-incarnation", "forged"))
        answer = await infer(gateway(transport, route("a"), route("b")), metadata=sent)
        assert answer.payload is transport.sent[0].payload is REQUEST, "forwarded as it came, never encoded anew"
        assert transport.sent[0].metadata == (("x-request-id", "7"),)
        assert dict(answer.metadata) == {
            "skerry-site": "site-a",
            "skerry-version": "v1",
            "skerry-decision": "decision-1",
            "skerry-replica": "a",
            "skerry-attempts": "1",
        }

    run_swiftly(main())


def test_the_replicas_own_word_counts() -> None:
    async def said(sent: object) -> Answer:
        return Answer(b"", (("skerry-version", "v1.1"), ("trace", "t"), ("skerry-attempts", "9")))

    async def main() -> None:
        answer = await infer(gateway(FakeTransport({"a": said}), route("a")))
        assert answer.metadata.count(("skerry-version", "v1.1")) == 1
        keys = [key for key, _ in answer.metadata]
        assert len(keys) == len(set(keys))
        assert dict(answer.metadata)["trace"] == "t"
        assert dict(answer.metadata)["skerry-attempts"] == "1"

    run_swiftly(main())


def test_an_unavailable_replica_costs_an_attempt_not_the_call() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": fail(UNAVAILABLE), "b": fail(UNAVAILABLE)})
        front = gateway(transport, route("a"), route("b"), route("c"))
        assert dict((await infer(front)).metadata)["skerry-attempts"] == "3"
        assert transport.tried == ["a", "b", "c"]
        transport.sent.clear()
        assert dict((await infer(front)).metadata)["skerry-replica"] == "c"
        assert transport.tried == ["c"], "both are ejected now"
        await asyncio.sleep(0.6)
        transport.sent.clear()
        transport.behaviours.clear()
        await infer(front)
        assert transport.tried == ["a"], "and welcome again after the window"

    run_swiftly(main())


@pytest.mark.parametrize(
    "code",
    [code for code in grpc.StatusCode if code not in (grpc.StatusCode.OK, UNAVAILABLE)],
)
def test_other_codes_pass_unchanged(code: grpc.StatusCode) -> None:
    async def main() -> None:
        transport = FakeTransport({"a": fail(code, "why", (("trace", "t"),))})
        err = await refusal(gateway(transport, route("a"), route("b")))
        assert err.code is code
        assert err.message.startswith("why")
        assert ("trace", "t") in err.metadata
        assert dict(err.metadata)["skerry-replica"] == "a"
        assert transport.tried == ["a"]

    run_swiftly(main())


def test_a_black_hole_costs_the_patience_and_is_ejected() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": hang})
        front = gateway(transport, route("a"), route("b"))
        clock = asyncio.get_running_loop()
        start_s = clock.time()
        answer = await infer(front)
        assert dict(answer.metadata)["skerry-replica"] == "b"
        assert clock.time() - start_s == pytest.approx(PATIENCE_S, abs=0.01)
        assert transport.cancelled == ["a"]
        transport.sent.clear()
        await infer(front)
        assert transport.tried == ["b"]

    run_swiftly(main())


def test_half_the_deadline_is_kept_for_the_second_try() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": hang})
        answer = await infer(gateway(transport, route("a"), route("b")), deadline_s=0.2)
        assert dict(answer.metadata)["skerry-replica"] == "b"
        assert transport.sent[1].timeout_s == pytest.approx(0.1, abs=0.01)

    run_swiftly(main())


def test_a_slow_model_is_given_its_predicted_time() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": answer_after(3.0)})
        answer = await infer(gateway(transport, route("a", predicted_ms=1000), route("b")))
        assert dict(answer.metadata)["skerry-attempts"] == "1"
        assert transport.cancelled == []

    run_swiftly(main())


def test_the_last_route_gets_all_the_time_there_is() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": answer_after(20.0), "b": answer_after(20.0)})
        assert dict((await infer(gateway(transport, route("a"), route("b")))).metadata)["skerry-attempts"] == "2"
        alone = await infer(gateway(FakeTransport({"a": answer_after(20.0)}), route("a")))
        assert dict(alone.metadata)["skerry-attempts"] == "1"

    run_swiftly(main())


def test_a_slow_route_is_not_left_for_a_dead_one() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": fail(UNAVAILABLE), "b": answer_after(2.0)})
        front = gateway(transport, route("a"), route("b"))
        await infer(front)
        transport.sent.clear()
        transport.behaviours["b"] = answer_after(0.45)
        await infer(front)
        transport.behaviours["b"] = answer_after(0.7)
        front._health = front._health.failed(route("a").key, asyncio.get_running_loop().time())
        assert dict((await infer(front)).metadata)["skerry-replica"] == "b"
        assert transport.cancelled == []

    run_swiftly(main())


def test_a_slow_route_is_asked_again_when_the_others_turn_out_dead() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": answer_after(1.0), "b": fail(UNAVAILABLE)})
        answer = await infer(gateway(transport, route("a"), route("b")))
        assert dict(answer.metadata)["skerry-replica"] == "a"
        assert transport.tried == ["a", "b", "a"]

    run_swiftly(main())


def test_the_callers_deadline_ends_everything() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop()
        start_s = clock.time()
        err = await refusal(gateway(FakeTransport({"a": hang, "b": hang}), route("a"), route("b")), deadline_s=1.0)
        assert err.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "attempt 2" in err.message
        assert clock.time() - start_s == pytest.approx(1.0, abs=0.01)
        start_s = clock.time()
        await refusal(gateway(FakeTransport({"a": hang}), route("a")))
        assert clock.time() - start_s == pytest.approx(DEFAULT_DEADLINE_S, abs=0.01)

    run_swiftly(main())


def test_all_unavailable_says_so_with_the_last_reason() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": fail(UNAVAILABLE), "b": fail(UNAVAILABLE, "draining")})
        err = await refusal(gateway(transport, route("a"), route("b")))
        assert err.code is UNAVAILABLE
        assert err.message == "draining (replica b on site-b, attempt 2)"
        again = await refusal(gateway(transport, route("a"), route("b")))
        assert again.code is UNAVAILABLE, "ejected routes are used when nothing else is left"

    run_swiftly(main())


def test_a_spent_budget_stops_retries_but_cuts_no_slow_call() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": fail(UNAVAILABLE), "b": fail(UNAVAILABLE)})
        front = gateway(transport, route("a"), route("b"))
        calls = 1000
        for _ in range(calls):
            await refusal(front)
        assert len(transport.sent) - calls <= BURST + 0.2 * calls
        transport.behaviours = {"a": answer_after(2.0), "b": answer_after(2.0)}
        transport.sent.clear()
        answers = await asyncio.gather(*(infer(front) for _ in range(100)))
        assert all(isinstance(answer, Answer) for answer in answers)
        assert len(transport.sent) < 100 + 100

    run_swiftly(main())


def test_cancelling_the_call_cancels_it_at_the_replica() -> None:
    async def main() -> None:
        transport = FakeTransport({"a": hang})
        call = asyncio.create_task(infer(gateway(transport, route("a"), route("b"))))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert transport.cancelled == ["a"]
        assert transport.tried == ["a"], "nobody waits for a second try"

    run_swiftly(main())


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        (b"\xff", grpc.StatusCode.INVALID_ARGUMENT, "not an OIP message"),
        (b"", grpc.StatusCode.INVALID_ARGUMENT, "model_name is empty"),
        (b"\x0a\x01x", grpc.StatusCode.NOT_FOUND, "known there: digits"),
        (b"\x0a\x06digits\x12\x019", grpc.StatusCode.NOT_FOUND, "served: v1"),
    ],
)
def test_what_cannot_be_forwarded_is_told_why(payload: bytes, code: grpc.StatusCode, words: str) -> None:
    async def main() -> None:
        transport = FakeTransport()
        err = await refusal(gateway(transport, route("a")), payload)
        assert err.code is code
        assert words in err.message
        assert transport.sent == []

    run_swiftly(main())


def test_no_table_and_no_route_are_unavailable() -> None:
    async def main() -> None:
        fresh = Gateway(FakeTransport(), "here")
        assert (await refusal(fresh)).code is UNAVAILABLE
        fresh.use(RouteTable(1, {DIGITS: ServiceRoutes("v1", "d", {}, "no site meets the policy")}))
        err = await refusal(fresh)
        assert err.code is UNAVAILABLE
        assert "no site meets the policy" in err.message
        (refused,) = fresh.demand.drain(asyncio.get_running_loop().time())
        assert (refused.calls, refused.failed, refused.request_bytes) == (1, 1, len(REQUEST)), (
            "refused demand is demand"
        )

    run_swiftly(main())


def test_demand_is_counted_by_the_callers_zone() -> None:
    async def main() -> None:
        front = gateway(FakeTransport({"a": fail(grpc.StatusCode.INVALID_ARGUMENT)}), route("a"))
        await refusal(front)
        front = gateway(FakeTransport(), route("a"))
        for zone in ("there", "there", "nowhere"):
            await infer(front, metadata=(("skerry-zone", zone),))
        with pytest.raises(TransportError):
            await front.infer(INFER, b"\x0a\x01x", (), None)
        counted = {each.zone: each for each in front.demand.drain(asyncio.get_running_loop().time())}
        assert {zone: each.calls for zone, each in counted.items()} == {"there": 2, "here": 1}
        assert counted["there"].response_bytes == 2 * len(REQUEST)
        assert all(each.service == "digits" for each in counted.values()), "names that nobody applied are not counted"

    run_swiftly(main())


def test_a_call_is_demand_from_when_it_comes_not_from_when_it_ends() -> None:
    async def main() -> None:
        front, loop = gateway(FakeTransport({"a": answer_after(20.0)}), route("a")), asyncio.get_running_loop()
        call = asyncio.create_task(infer(front))
        await asyncio.sleep(0.1)
        (waiting,) = front.demand.drain(loop.time())
        assert (waiting.calls, waiting.failed, waiting.request_bytes, waiting.response_bytes) == (1, 0, len(REQUEST), 0)
        await call
        (answered,) = front.demand.drain(loop.time())
        assert (answered.calls, answered.failed, answered.response_bytes) == (0, 0, len(REQUEST))

    run_swiftly(main())


behaviours = st.sampled_from(["answer", "dead", "hole", "slow"])


@settings(max_examples=60, deadline=None)
@given(st.lists(behaviours, min_size=1, max_size=5), st.lists(st.floats(0, 2), min_size=1, max_size=10))
def test_no_call_is_lost_while_one_replica_answers(kinds: list[str], gaps_s: list[float]) -> None:
    """Any mix of dead, silent and slow replicas; within the budget and the default deadline."""
    made = {"dead": fail(UNAVAILABLE), "hole": hang, "slow": answer_after(0.3)}

    async def main() -> None:
        names = [f"r{at}" for at in range(len(kinds) + 1)]
        transport = FakeTransport({name: made[kind] for name, kind in zip(names, kinds, strict=False) if kind in made})
        front = gateway(transport, *(route(name) for name in names))
        for gap_s in gaps_s:
            await asyncio.sleep(gap_s)
            transport.sent.clear()
            await infer(front)
            again = [name for name in transport.tried if transport.tried.count(name) > 1]
            assert set(again) <= set(transport.cancelled), "only a replica that was given up is asked again"
            assert len(again) <= 2 * len(set(again)), "and only once"

    run_swiftly(main())
