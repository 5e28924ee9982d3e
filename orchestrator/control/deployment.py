"""The control plane wrapped as a Serve deployment: Serve starts it, checks it and starts it anew when it dies."""

import asyncio
import json
import logging
import sys
import threading

from ray import serve

from orchestrator.clock import SystemClock
from orchestrator.cloud.ray_node import keep_serve_on_loopback
from orchestrator.cloud.serve import EmbeddedServe, ReplicaHome
from orchestrator.cloud.trainer import EmbeddedRayTrainer
from orchestrator.control.process import run_plane
from orchestrator.lines import log_to
from orchestrator.settings import CONTROL_LOG, Settings, settings_from
from orchestrator.store import open_store

log = logging.getLogger(__name__)

SWITCH_S = 0.0005


class ControlPlaneReplica:
    """Runs the control plane on an event loop of its own, so that Serve's calls never wait for a decision."""

    def __init__(self, environ_json: str) -> None:
        keep_serve_on_loopback()
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(json.loads(environ_json),), daemon=True)
        self._thread.start()
        self._ready.wait()
        self.check_health()

    def _run(self, environ: dict[str, str]) -> None:
        # Planning and reading run in threads beside the event loop, which waits up to 5 ms by default for each turn at
        # the interpreter. Suspected, not proven, of the 40 ms p99 that the front saw on loopback.
        sys.setswitchinterval(SWITCH_S)
        try:
            settings = settings_from(environ)
            settings.logs_dir.mkdir(parents=True, exist_ok=True)
            # Ray keeps its workers' output among its own files; operators look where `up` said.
            with (settings.logs_dir / CONTROL_LOG).open("a", buffering=1) as lines:
                log_to(lines)
                self._run_logged(settings)
        except OSError as err:
            self._failure = err
        finally:
            self._ready.set()

    def _run_logged(self, settings: Settings) -> None:
        try:
            asyncio.run(_run_embedded(settings, self._ready))
        except BaseException as err:
            # The thread's edge: Serve hears of it through check_health.
            self._failure = err
            log.critical("control plane ended", exc_info=err)

    def check_health(self) -> None:
        """Serve asks. Raises RuntimeError, with the reason, once the control plane has ended."""
        if self._failure is not None or not self._thread.is_alive():
            raise RuntimeError(f"the control plane ended: {self._failure!r}") from self._failure


async def _run_embedded(settings: Settings, ready: threading.Event) -> None:
    """Over the Serve and the trainer of the Ray that this process is connected to."""
    home = ReplicaHome(
        region=settings.region,
        control_address=settings.control_address,
        artifacts_url=settings.artifacts,
        cache_dir=str(settings.state_dir / "cache"),
        host=settings.replica_host,
        identity_dir="" if settings.plain_link else str(settings.identity_dir("replica")),
    )
    store = await asyncio.to_thread(open_store, settings.store)
    await run_plane(settings, store, EmbeddedServe(home), EmbeddedRayTrainer(), SystemClock(), ready.set)


ControlDeployment = serve.deployment(
    name="control",
    num_replicas=1,
    max_ongoing_requests=8,
    health_check_period_s=2,
    health_check_timeout_s=10,
    graceful_shutdown_timeout_s=2,
    ray_actor_options={"num_cpus": 0},
)(ControlPlaneReplica)
