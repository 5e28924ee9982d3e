"""Model files on one port, without a control plane: `skerry serve` and `python -m workers.inference`."""

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from workers.inference.dataplane import DataPlane, ModelSource
from workers.inference.errors import AddressUnusable, ModelLoadFailed
from workers.inference.runtime import format_of
from workers.inference.server import InferenceServer

FILE_VERSION = "1"  # a bare file has no version; clients that ask for one expect the first


def serve_files(models: Sequence[tuple[str, Path]], host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; to be called in the main thread. Port 0: a free one, printed.

    Raises ModelLoadFailed, AddressUnusable (also AddressInUse). Nothing is served unless all loads.
    """
    if host not in ("localhost", "::1", "[::1]") and not host.startswith("127."):
        remedy = "plain text is for loopback only: use --host 127.0.0.1, and a tunnel or a front for others"
        raise AddressUnusable(f"{host}:{port}", "it is not on loopback", remedy)
    dataplane = load_files(models)
    server = InferenceServer(dataplane, f"[{host}]:{port}" if host == "::1" else f"{host}:{port}")
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.start()
        for model in dataplane.models():
            print(f"{model.name}: {model.description}", flush=True)
        print(f"serving on {server.address} (Open Inference Protocol, gRPC); Ctrl-C stops", flush=True)
        stopping.wait()
        server.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def load_files(models: Sequence[tuple[str, Path]]) -> DataPlane:
    """Raises ModelLoadFailed."""
    dataplane = DataPlane()
    seen: set[str] = set()
    for name, path in models:
        if not name or "/" in name or name in seen:
            raise ModelLoadFailed(f"{name}={path}", "the name is empty, has a slash or is taken", "choose another NAME")
        seen.add(name)
        dataplane.load(ModelSource(name, FILE_VERSION, path, format_of(path)))
    return dataplane
