"""gRPC's standard services beside inference: health and reflection, each where its package is installed.

An edge node has the health package (50 KiB, nothing else comes with it), and no reflection (5 MiB more in memory).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc

try:
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
except ImportError:
    health = None


class Health:
    """`grpc.health.v1.Health`, Check and Watch. Without its package: nothing is served, nothing fails."""

    def __init__(self) -> None:
        self._servicer = None if health is None else health.HealthServicer()
        if self._servicer is not None:
            self._servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)

    @property
    def names(self) -> tuple[str, ...]:
        return () if self._servicer is None else (health.SERVICE_NAME,)

    def add_to(self, server: grpc.Server) -> None:
        if self._servicer is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def set_serving(self, service: str) -> None:
        """The server as a whole, and `service`."""
        if self._servicer is not None:
            for name in ("", service):
                self._servicer.set(name, health_pb2.HealthCheckResponse.SERVING)

    def leave(self) -> None:
        """NOT_SERVING for good; watchers hear of it at once."""
        if self._servicer is not None:
            self._servicer.enter_graceful_shutdown()


def add_reflection(server: grpc.Server, services: Sequence[str]) -> None:
    try:
        from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
    except ImportError:
        return

    class Reflection(reflection.ReflectionServicer):  # type: ignore[misc]  # not typed
        def ServerReflectionInfo(self, request_iterator: object, context: object) -> object:
            return super().ServerReflectionInfo(request_iterator, context)

        # An open stream holds a thread; with one of its own, curious clients take none from inference.
        ServerReflectionInfo.experimental_thread_pool = ThreadPoolExecutor(1, thread_name_prefix="reflection")  # type: ignore[attr-defined]

    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(Reflection((*services, reflection.SERVICE_NAME)), server)
