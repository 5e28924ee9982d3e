"""A running server, and clients of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from oip_requests import plane_with

from protos.inference.v2 import inference_pb2 as pb
from protos.inference.v2 import inference_pb2_grpc as pb_grpc
from workers.inference.dataplane import DataPlane
from workers.inference.server import InferenceServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def plane() -> DataPlane:
    return plane_with("dense", "two", "text", "dense_int8")


@pytest.fixture
def server(plane: DataPlane) -> Iterator[InferenceServer]:
    server = InferenceServer(plane)
    server.start()
    yield server
    server.stop(0)


@pytest.fixture
def channel(server: InferenceServer) -> Iterator[grpc.Channel]:
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options=limits) as channel:
        yield channel


@pytest.fixture
def infer_call(channel: grpc.Channel) -> Callable[..., pb.ModelInferResponse]:
    return pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer


@pytest.fixture(scope="session")
def client_python() -> Callable[[str], str]:
    """The Python of an unmodified client's own environment: its stubs and ours collide in one process."""

    def find(name: str) -> str:
        python = ROOT / ".venvs" / name / "bin" / "python"
        if not (python.parent.parent / "ready").exists():
            pytest.fail(f"{name} is not installed: run `make .venvs/{name}/ready`")
        return str(python)

    return find
