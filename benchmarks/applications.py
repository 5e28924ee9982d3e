"""How Serve bears many applications deployed in place: one for each version of a service, as the control plane does it.

Deploys 10, 20 and 40 of them, then changes the number of one: `python -m benchmarks.applications [--most 40]`. The
baseline of the same run is the first step. Bounded by memory (about 130 MiB a replica) and time.
"""

import argparse
import asyncio
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import psutil

from orchestrator.cloud.ray_node import ray_temp_dir, start_embedded_ray
from orchestrator.cloud.serve import EmbeddedServe, ReplicaHome
from orchestrator.model.running import CloudReplicas
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.artifacts.library import ArtifactLibrary

MODEL = Path(__file__).parents[1] / "tests" / "models" / "digits-int8.tflite"
LIMIT_S = 400.0


class Registrations(link_pb2_grpc.ReplicaLinkServicer):
    """Which replicas hold their registration open."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    async def Register(  # noqa: N802 - named by the wire
        self, request_iterator: AsyncIterator[link_pb2.ReplicaReport], context: object
    ) -> AsyncIterator[link_pb2.ReplicaOrders]:
        report = await anext(aiter(request_iterator))
        self.held[report.incarnation] = report.service
        try:
            yield link_pb2.ReplicaOrders()
            async for _later in request_iterator:
                pass
        finally:
            self.held.pop(report.incarnation, None)


async def until(holds: Callable[[], bool]) -> float:
    start_s = time.monotonic()
    while not holds():
        if time.monotonic() - start_s > LIMIT_S:
            raise SystemExit(f"not within {LIMIT_S:g} s")
        await asyncio.sleep(0.05)
    return time.monotonic() - start_s


def replica_mib() -> float:
    """Mean proportional memory of one replica process."""
    sizes = [
        process.memory_full_info().pss
        for process in psutil.process_iter()
        if "ray::ServeReplica:default.s" in " ".join(process.cmdline())
    ]
    return sum(sizes) / max(1, len(sizes)) / 2**20


async def run(most: int, folder: Path) -> None:
    registrations, server = Registrations(), grpc.aio.server()
    link_pb2_grpc.add_ReplicaLinkServicer_to_server(registrations, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    digest = ArtifactLibrary(str(folder / "artifacts")).add(MODEL)[0]
    cloud = EmbeddedServe(ReplicaHome("local", address, str(folder / "artifacts"), str(folder / "cache")))

    def wanted(applications: int, of_first: int = 1) -> list[CloudReplicas]:
        counts = [of_first] + [1] * (applications - 1)
        return [
            CloudReplicas("default", f"s{n}", "v1", digest, "tflite", count, 32 << 20, 100)
            for n, count in enumerate(counts)
        ]

    print("applications   added s   s each   MiB a replica", flush=True)
    before = 0
    for applications in [n for n in (10, 20, 40, 80, 160) if n <= most]:
        await cloud.deploy(wanted(applications))
        took_s = await until(lambda n=applications: len(registrations.held) == n)  # type: ignore[misc]
        each_s = took_s / (applications - before)
        print(f"{applications:12d}   {took_s:7.1f}   {each_s:6.2f}   {replica_mib():13.0f}", flush=True)
        before = applications
    held = set(registrations.held)
    await cloud.deploy(wanted(before, of_first=2))
    took_s = await until(lambda: len(registrations.held) == before + 1)
    kept = len(held & set(registrations.held))
    print(f"one more replica of one application: {took_s:.1f} s; of {len(held)} others kept: {kept}")
    await cloud.deploy([])
    print(f"all removed: {await until(lambda: not registrations.held):.1f} s")
    await server.stop(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=40)
    most = parser.parse_args().most
    import ray
    from ray import serve

    print(f"machine: {platform.node()}, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}", flush=True)
    start_embedded_ray("applications")
    serve.start(http_options={"location": "NoServer"})
    folder = Path(tempfile.mkdtemp())
    try:
        asyncio.run(run(most, folder))
    finally:
        serve.shutdown()
        ray.shutdown()
        shutil.rmtree(folder)
        shutil.rmtree(ray_temp_dir("applications"), ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
