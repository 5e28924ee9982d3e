"""What callers on the LAN asked for is counted, whatever came of it."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from protos.inference.v2 import inference_pb2 as oip
from workers.edge.assignment import LanDemand
from workers.edge.lan import LanGateway
from workers.inference.dataplane import Reply
from workers.inference.errors import BadTensor, ModelNotReady, ModelUnknown

INFER = "/inference.GRPCInferenceService/ModelInfer"
READY = "/inference.GRPCInferenceService/ModelReady"


class Served:
    """Answers as it is told to."""

    def __init__(self, ends_in: Exception | None = None) -> None:
        self.ends_in = ends_in

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        if self.ends_in:
            raise self.ends_in
        return Reply(b"12345", {})

    def awaits(self, key: str) -> bool:
        return key in ("digits", "line/digits")


def request(model: str = "digits") -> bytes:
    return oip.ModelInferRequest(model_name=model).SerializeToString()


def test_calls_are_counted_by_service_and_namespace() -> None:
    gateway = LanGateway(Served())
    for metadata in ({}, {"skerry-namespace": "default"}, {"skerry-namespace": "line"}):
        assert gateway.handle(INFER, request(), metadata).payload == b"12345"
    assert gateway.totals() == (
        LanDemand("default", "digits", 2, 0, 2 * len(request()), 10),
        LanDemand("line", "digits", 1, 0, len(request()), 5),
    )


@pytest.mark.parametrize(
    ("ends_in", "failed"),
    [(ModelNotReady("digits"), 1), (RuntimeError("a bug"), 1), (BadTensor("x"), 0), (ModelUnknown("x", "", ()), 0)],
    ids=["refused", "bug", "caller's fault", "unknown version"],
)
def test_a_refused_call_is_demand_too(ends_in: Exception, failed: int) -> None:
    gateway = LanGateway(Served(ends_in))
    with pytest.raises(type(ends_in)):
        gateway.handle(INFER, request(), {})
    assert gateway.totals() == (LanDemand("default", "digits", 1, failed, len(request()), 0),)


def test_what_is_not_assigned_or_no_call_of_a_model_is_not_counted() -> None:
    gateway = LanGateway(Served())
    gateway.handle(READY, request(), {})
    gateway.handle(INFER, request("made-up"), {})
    gateway.handle(INFER, b"\xff\xff", {})
    assert gateway.totals() == ()


def test_no_call_is_lost_between_threads() -> None:
    gateway = LanGateway(Served())
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: gateway.handle(INFER, request(), {}), range(4000)))
    (total,) = gateway.totals()
    assert (total.calls, total.failed, total.response_bytes) == (4000, 0, 20_000)
