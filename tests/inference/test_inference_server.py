"""The server on a real port: status codes, standard services, limits, keepalive, and how it ends."""

import logging
import socket
import struct
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from oip_requests import ONES, floats, plane_with, request, source

from protos.inference.v2 import inference_pb2 as pb
from protos.inference.v2 import inference_pb2_grpc as pb_grpc
from workers.inference.dataplane import Reply
from workers.inference.errors import AddressInUse, AddressUnusable
from workers.inference.server import InferenceServer

pytestmark = pytest.mark.real

TIMEOUT_S = 20
SERVICE = "inference.GRPCInferenceService"
CALL = request("dense", {"x": ONES}, id="1")


class Held:
    """A data plane that answers when it is let."""

    def __init__(self) -> None:
        self.entered, self.gate = threading.Semaphore(0), threading.Event()

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        self.entered.release()
        assert self.gate.wait(TIMEOUT_S)
        return Reply(pb.ModelInferResponse(id="held").SerializeToString(), {})


def failed(call, *args, **kwargs) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, timeout=TIMEOUT_S, **kwargs)
    return caught.value


def health_of(address: str) -> tuple[grpc.Channel, health_pb2_grpc.HealthStub]:
    channel = grpc.insecure_channel(address)
    return channel, health_pb2_grpc.HealthStub(channel)


def test_an_inference_with_its_trailing_metadata(plane, infer_call):
    plane.load(source("dense", metadata={"skerry-site": "line-3", "skerry-version": "1"}))
    answer, call = infer_call.with_call(CALL, timeout=TIMEOUT_S)
    assert floats(answer, "score")[0].tolist() == [3.75, 0.375, -0.4375]
    trailing = dict(call.trailing_metadata())
    assert (trailing["skerry-site"], trailing["skerry-version"]) == ("line-3", "1")


def test_invocation_metadata_reaches_the_data_plane(plane, infer_call):
    plane.load(source("dense", incarnation="i-2"))
    assert infer_call(CALL, metadata=[("skerry-incarnation", "i-2"), ("x-bin", b"\xff")], timeout=TIMEOUT_S).id == "1"
    error = failed(infer_call, CALL, metadata=[("skerry-incarnation", "i-1")])
    assert error.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        (request("nope", {}), grpc.StatusCode.NOT_FOUND, "this server serves 'dense'"),
        (request("dense", {"x": ONES[:, :3]}), grpc.StatusCode.INVALID_ARGUMENT, "[2, 3], the model takes [-1, 4]"),
    ],
)
def test_errors_arrive_with_their_code_and_words(infer_call, message, code, said):
    error = failed(infer_call, message)
    assert error.code() is code
    assert said in error.details()


def test_bytes_that_are_no_request_are_an_invalid_argument(channel):
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    error = failed(call, b"\xff\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "3 bytes are not a inference.ModelInferRequest" in error.details()


def test_methods_of_other_servers_are_unimplemented(channel):
    for method in ("RepositoryIndex", "ModelStreamInfer"):
        error = failed(channel.unary_unary(f"/{SERVICE}/{method}"), b"")
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_bug_of_ours_tells_the_caller_nothing_and_the_log_everything(caplog):
    class Broken:
        def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
            raise KeyError("/home/secret/path")

    server = InferenceServer(Broken())
    server.start()
    with caplog.at_level(logging.ERROR), grpc.insecure_channel(server.address) as channel:
        error = failed(channel.unary_unary(f"/{SERVICE}/ModelInfer"), b"")
    server.stop(0)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    assert "Traceback" not in error.details()
    assert "secret" in caplog.text


def test_messages_up_to_64_mib_pass_both_ways_and_larger_ones_are_refused(infer_call):
    text = np.array([b"z" * (60 * 2**20)], object)
    answer = infer_call(request("text", {"text": text}), timeout=TIMEOUT_S)
    assert len(answer.raw_output_contents[0]) == 60 * 2**20 + 4
    error = failed(infer_call, request("text", {"text": np.array([b"z" * (64 * 2**20)], object)}))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert infer_call(CALL, timeout=TIMEOUT_S).id == "1"


def test_a_port_in_use_is_named_with_its_remedy(server):
    with pytest.raises(AddressInUse, match=rf"cannot listen on {server.address}: another process .* choose another"):
        InferenceServer(plane_with(), server.address).start()


@pytest.mark.parametrize("address", ["192.0.2.1:0", "127.0.0.1:99999", "nowhere"])
def test_an_address_that_is_none_of_ours(address):
    with pytest.raises(AddressUnusable, match=r"cannot listen on .*give host:port"):
        InferenceServer(plane_with(), address).start()


def test_health_is_off_before_the_calls_under_way_are_done():
    held = Held()
    server = InferenceServer(held)
    server.start()
    channel, health = health_of(server.address)
    with ThreadPoolExecutor(2) as pool, channel:
        for name in ("", SERVICE):
            status = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S).status
            assert status == health_pb2.HealthCheckResponse.SERVING
        watch = iter(health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        answer = pool.submit(infer, CALL, timeout=TIMEOUT_S)
        assert held.entered.acquire(timeout=TIMEOUT_S)
        stopping = pool.submit(server.stop, 5.0)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not answer.done()
        assert next(watch, None) is None  # or it would hold up the stop
        late = failed(infer, CALL)
        assert late.code() is grpc.StatusCode.UNAVAILABLE
        held.gate.set()
        assert answer.result(TIMEOUT_S).id == "held"
        stopping.result(TIMEOUT_S)


def test_health_of_an_unknown_service_is_not_found(server):
    channel, health = health_of(server.address)
    with channel:
        error = failed(health.Check, health_pb2.HealthCheckRequest(service="nope"))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_stopping_under_load_fails_callers_only_with_what_they_may_retry(plane):
    server = InferenceServer(plane)
    server.start()
    started = threading.Barrier(9)

    def call_until_refused() -> tuple[int, grpc.StatusCode]:
        with grpc.insecure_channel(server.address) as channel:
            infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
            infer(CALL, timeout=TIMEOUT_S)
            started.wait(TIMEOUT_S)
            for count in range(100_000):
                try:
                    infer(CALL, timeout=TIMEOUT_S)
                except grpc.RpcError as err:
                    return count, err.code()
        raise AssertionError("the server never stopped")

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call_until_refused) for _ in range(8)]
        started.wait(TIMEOUT_S)
        server.stop(5.0)
        assert {call.result(TIMEOUT_S)[1] for call in calls} == {grpc.StatusCode.UNAVAILABLE}


def test_watchers_and_curious_clients_take_no_thread_from_inference(plane):
    server = InferenceServer(plane, threads=2)
    server.start()
    channel, health = health_of(server.address)
    with channel:
        watches = [health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S) for _ in range(8)]
        assert all(next(watch).status == health_pb2.HealthCheckResponse.SERVING for watch in watches)
        gate = threading.Event()
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)

        def question():
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            gate.wait(TIMEOUT_S)

        streams = [reflection.ServerReflectionInfo(question(), timeout=TIMEOUT_S) for _ in range(4)]
        listed = {service.name for service in next(streams[0]).list_services_response.service}
        assert {SERVICE, "grpc.health.v1.Health"} <= listed
        infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        assert infer(CALL, timeout=TIMEOUT_S).id == "1"
        gate.set()
        for call in (*watches, *streams):
            call.cancel()
    server.stop(0)


def test_more_waiting_calls_than_threads_can_answer_are_refused_at_once():
    held = Held()
    server = InferenceServer(held, threads=1)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        calls = [call.future(b"", timeout=TIMEOUT_S) for _ in range(80)]
        assert held.entered.acquire(timeout=TIMEOUT_S)
        late = failed(call, b"")
        assert late.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.gate.set()
        codes = [each.code() for each in calls]
    server.stop(0)
    assert codes.count(grpc.StatusCode.OK) >= 64
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_a_client_that_pings_often_is_not_sent_away(server, infer_call):
    """HTTP/2 by hand: gRPC's own clients refuse to ping oftener than every ten seconds."""
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as link:
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, b""))
        answered, received = 0, b""
        for number in range(50):
            link.sendall(frame(6, 0, struct.pack(">Q", number)))
        while answered < 50:
            received += (more := link.recv(65536))
            assert more, "the server closed the connection"
            kinds, received = frames(received)
            assert 7 not in [kind for kind, _ in kinds], "GOAWAY"
            answered += sum(kind == 6 and flags & 1 for kind, flags in kinds)
    assert infer_call(CALL, timeout=TIMEOUT_S).id == "1"


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + b"\0\0\0\0" + payload


def frames(received: bytes) -> tuple[list[tuple[int, int]], bytes]:
    """(kind, flags) of the whole frames, and the rest."""
    found = []
    while len(received) >= 9 and len(received) >= 9 + (size := int.from_bytes(received[:3], "big")):
        found.append((received[3], received[4]))
        received = received[9 + size :]
    return found, received


def test_swaps_under_load_through_the_wire(plane, server):
    want = {"1": 3.75, "2": 7.5}
    done = threading.Event()

    def call() -> int:
        count = 0
        with grpc.insecure_channel(server.address) as channel:
            infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
            while not done.is_set():
                answer = infer(CALL, timeout=TIMEOUT_S)
                assert floats(answer, "score")[0, 0] == want[answer.model_version]
                count += 1
        return count

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call) for _ in range(8)]
        for round in range(30):
            version = "2" if round % 2 == 0 else "1"
            plane.load(source("dense", "dense_v2" if version == "2" else "dense", version=version))
        done.set()
        assert sum(each.result(TIMEOUT_S) for each in calls) > 0


def test_watchers_that_come_and_go_at_once_freeze_nothing(server, infer_call):
    """grpcio-health-checking's servicer does freeze here."""

    def watch_and_leave(_: int) -> None:
        channel, health = health_of(server.address)
        with channel:
            for _ in range(40):
                watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
                assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
                watch.cancel()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(watch_and_leave, range(6)))
    assert infer_call(CALL, timeout=TIMEOUT_S).id == "1"
