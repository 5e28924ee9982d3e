"""Server reflection, where its package is installed: in the cloud and for developers (5 MiB more in memory)."""

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc


def add_reflection(server: grpc.Server, services: Sequence[str]) -> None:
    """Does nothing without grpcio-reflection."""
    try:
        from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
    except ImportError:
        return
    with contextlib.suppress(ImportError):
        import grpc_health.v1.health_pb2  # noqa: F401  # so that reflection can describe the health service too

    class Reflection(reflection.ReflectionServicer):  # type: ignore[misc]  # not typed
        def ServerReflectionInfo(self, request_iterator: object, context: object) -> object:
            return super().ServerReflectionInfo(request_iterator, context)

        # An open stream holds a thread; with one of its own, curious clients take none from inference.
        ServerReflectionInfo.experimental_thread_pool = ThreadPoolExecutor(1, thread_name_prefix="reflection")  # type: ignore[attr-defined]

    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(Reflection((*services, reflection.SERVICE_NAME)), server)
