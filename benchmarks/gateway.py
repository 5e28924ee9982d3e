"""What the gateway's hop adds: the same calls straight to a replica and through a gateway, in turns, in one run.

`python -m benchmarks.gateway`. One process each: caller, gateway, a bare grpc.aio pass-through as the floor, replica
(echo, thread pool, bytes handlers). Latency is the caller's; CPU is what the kernel charged the process in between.
Figures to reach: at most 0.5 ms p50 and 0.4 CPU-ms added per call.
"""

import argparse
import asyncio
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from protos.inference.v2 import inference_pb2
from workers.gateway.choice import Route, RouteTable, ServiceKey, ServiceRoutes
from workers.gateway.direct import DirectTransport
from workers.gateway.forward import Gateway
from workers.gateway.server import SERVICE, OipHandlers, gateway_server

INFER = f"/{SERVICE}/ModelInfer"
ROUNDS = 5
CALLS = 1_500  # per round and way
WARM_UP = 300
REQUEST = inference_pb2.ModelInferRequest(model_name="digits", raw_input_contents=[bytes(256)]).SerializeToString()


@dataclass(frozen=True, slots=True)
class Round:
    """One way's calls in one round."""

    latencies_ms: list[float]
    calls_per_s: float
    gateway_cpu_ms: float  # per call

    def quantile(self, share: float) -> float:
        return sorted(self.latencies_ms)[min(len(self.latencies_ms) - 1, int(share * len(self.latencies_ms)))]


def replica() -> None:
    """Echoes, as a thread-pool replica does; prints its address."""

    class Echo(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    server = grpc.server(ThreadPoolExecutor(8), handlers=(Echo(),))
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    server.start()
    server.wait_for_termination()


async def gateway(address: str) -> None:
    """The gateway as fronts run it, with one route; prints its address."""
    route = Route("r", "r-1", "s", "v1", 1.0, 5.0, address)
    served = ServiceRoutes("v1", "decision-1", {"": (route,)})
    made = Gateway(DirectTransport(), "here")
    made.use(RouteTable(1, {ServiceKey("default", "digits"): served}))
    server = gateway_server(OipHandlers(made, "benchmark"))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


async def bare(address: str) -> None:
    """The least that grpc.aio itself costs: every call passed on as it is; prints its address."""
    pass_on = grpc.aio.insecure_channel(address).unary_unary(INFER)

    class PassOn(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
            return grpc.unary_unary_rpc_method_handler(answer)

    async def answer(request: bytes, context: object) -> bytes:
        return await pass_on(request, timeout=10)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((PassOn(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def run_round(address: str, callers: int, charged: psutil.Process) -> Round:
    """`CALLS` calls by `callers` threads over one channel."""
    latencies_ms: list[float] = []

    def calls(infer: Callable[..., bytes], count: int) -> None:
        for _ in range(count):
            start_s = time.perf_counter()
            infer(REQUEST, timeout=10)
            latencies_ms.append((time.perf_counter() - start_s) * 1000)

    with grpc.insecure_channel(address) as channel:
        infer = channel.unary_unary(INFER)
        calls(infer, WARM_UP)
        latencies_ms.clear()
        before, start_s = charged.cpu_times(), time.perf_counter()
        threads = [threading.Thread(target=calls, args=(infer, CALLS // callers)) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken_s, after = time.perf_counter() - start_s, charged.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return Round(latencies_ms, len(latencies_ms) / taken_s, 1000 * cpu_s / len(latencies_ms))


def compare(ways: dict[str, tuple[str, psutil.Process]]) -> None:
    """Each way in turn, round by round; `ways` has the address to call and the process that is charged."""
    print(f"{'callers':>8} {'way':>8} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'calls/s':>8} {'its CPU-ms':>11}")
    for callers in (1, 8):
        rounds: dict[str, list[Round]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, (address, charged) in ways.items():
                rounds[way].append(run_round(address, callers, charged))
        for way, made in rounds.items():
            quantiles = [statistics.median(each.quantile(share) for each in made) for share in (0.5, 0.95, 0.99)]
            rate = statistics.median(each.calls_per_s for each in made)
            cpu = statistics.median(each.gateway_cpu_ms for each in made)
            print(f"{callers:>8} {way:>8} " + " ".join(f"{q:>8.3f}" for q in quantiles) + f" {rate:>8.0f} {cpu:>11.3f}")
        for way in ("bare", "gateway"):
            pairs = zip(rounds["direct"], rounds[way], strict=True)
            added = [through.quantile(0.5) - straight.quantile(0.5) for straight, through in pairs]
            spread = f"(least {min(added):.3f}, most {max(added):.3f})"
            print(f"{callers:>8} {way:>8} adds {statistics.median(added):.3f} ms p50 {spread}")


def start(*arguments: str) -> tuple["subprocess.Popen[str]", str]:
    command = [sys.executable, "-m", "benchmarks.gateway", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", nargs="?", default="compare", choices=("compare", "replica", "gateway", "bare"))
    parser.add_argument("address", nargs="?", default="")
    given = parser.parse_args()
    if given.part == "replica":
        return replica()
    if given.part in ("gateway", "bare"):
        return asyncio.run({"gateway": gateway, "bare": bare}[given.part](given.address))
    cores, load = psutil.cpu_count(), psutil.getloadavg()[0]
    print(f"machine: {platform.node()}, {platform.machine()}, {cores} cores, load {load:.1f}")
    print(f"python {platform.python_version()}, grpcio {grpc.__version__}; request {len(REQUEST)} bytes")
    far, straight = start("replica")
    parts = {way: start(way, straight) for way in ("bare", "gateway")}
    ways = {way: (address, psutil.Process(process.pid)) for way, (process, address) in parts.items()}
    processes = [far, *(process for process, _ in parts.values())]
    try:
        return compare({"direct": (straight, ways["gateway"][1]), **ways})
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
