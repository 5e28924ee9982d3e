"""One cloud replica: the inference server inside a Serve deployment, on a port of its own.

It dials the control plane and holds the registration open; a broken one is dialled again, and calls go on meanwhile.
"""

import json
import logging
import random
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
from ray import serve

from orchestrator.cloud.ray_node import keep_serve_on_loopback
from orchestrator.cloud.serve import DEPLOYMENT, ReplicaHome
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.artifacts.library import ArtifactLibrary
from workers.identity.connecting import on_loopback
from workers.identity.folder import IdentityFolder
from workers.identity.names import Role
from workers.identity.tls import server_credentials
from workers.inference.dataplane import DataPlane, ModelSource
from workers.inference.errors import ModelLoadFailed
from workers.inference.server import InferenceServer

log = logging.getLogger(__name__)

REDIAL_S = (0.2, 1.0)
FAILURE_REPORT_S = 5.0


class ModelReplica:
    """One copy of one version. A failed load is reported with its reason, then fails the start, which Serve retries."""

    def __init__(self, namespace: str, service: str, version: str, digest: str, format: str, home: ReplicaHome) -> None:
        keep_serve_on_loopback()
        incarnation = secrets.token_hex(6)
        self._report = link_pb2.ReplicaReport(
            replica=f"{service}-{home.region}-{incarnation}",
            incarnation=incarnation,
            namespace=namespace,
            service=service,
            version=version,
            region=home.region,
            digest=digest,
            phase=link_pb2.REPLICA_PHASE_STARTING,
        )
        self._name = service if namespace == "default" else f"{namespace}/{service}"
        self._dataplane = DataPlane()
        self._server = InferenceServer(self._dataplane, f"{home.host}:0", credentials=_credentials(home))
        try:
            self._load(digest, format, home)
        except ModelLoadFailed as err:
            _report_failure(home, self._report, str(err))
            raise
        self._server.start()
        self._report.address = self._server.address
        self._report.phase = link_pb2.REPLICA_PHASE_READY
        self._closing = threading.Event()
        self._registration = threading.Thread(
            target=_hold_registration, args=(home, self._report, self._closing), daemon=True
        )
        self._registration.start()

    def _load(self, digest: str, format: str, home: ReplicaHome) -> None:
        path = ArtifactLibrary(home.artifacts_url).local_path(digest, Path(home.cache_dir))
        self._dataplane.load(
            ModelSource(
                name=self._name,
                version=self._report.version,
                path=path,
                format=format,
                incarnation=self._report.incarnation,
                metadata={
                    "skerry-site": home.region,
                    "skerry-version": self._report.version,
                    "skerry-replica": self._report.replica,
                },
            )
        )

    def check_health(self) -> None:
        """Serve asks. Raises RuntimeError when the model does not answer."""
        if not self._dataplane.ready(self._name):
            raise RuntimeError(f"model {self._name} is not ready in {self._report.replica}")

    def __del__(self) -> None:
        # Serve's only stop hook: leave the route table first, then answer what is under way.
        if hasattr(self, "_closing"):
            self._closing.set()
            self._server.stop()


def _credentials(home: ReplicaHome) -> grpc.ServerCredentials | None:
    """None on loopback. Raises IdentityError, OSError."""
    return None if on_loopback(f"{home.host}:0") else server_credentials(IdentityFolder(Path(home.identity_dir)))


def _hold_registration(home: ReplicaHome, report: link_pb2.ReplicaReport, closing: threading.Event) -> None:
    """Dial until closed. The stream is the lease: while it lives, the control plane routes to this replica."""
    while not closing.is_set():
        broken = threading.Event()
        options = [("grpc.keepalive_time_ms", 10_000)]
        with home.connector().blocking(home.control_address, Role.CONTROL, options) as channel:
            try:
                orders = link_pb2_grpc.ReplicaLinkStub(channel).Register(_until(closing, broken, report))
                for order in orders:
                    log.info("order received", extra={"replica": report.replica, "draining": order.draining})
            except grpc.RpcError as err:
                log.info("registration broke", extra={"replica": report.replica, "reason": str(err)})
            finally:
                broken.set()  # ends gRPC's thread that waits for our next message
        closing.wait(random.uniform(*REDIAL_S))


def _until(
    closing: threading.Event, broken: threading.Event, report: link_pb2.ReplicaReport
) -> Iterator[link_pb2.ReplicaReport]:
    yield report
    while not closing.is_set() and not broken.wait(1.0):
        pass


def _report_failure(home: ReplicaHome, report: link_pb2.ReplicaReport, reason: str) -> None:
    """Say once why this replica cannot start; Serve's own message would not name the cause."""
    failed = link_pb2.ReplicaReport()
    failed.CopyFrom(report)
    failed.phase = link_pb2.REPLICA_PHASE_FAILED
    failed.reason = reason
    with home.connector().blocking(home.control_address, Role.CONTROL) as channel:
        try:
            for _order in link_pb2_grpc.ReplicaLinkStub(channel).Register(iter([failed]), timeout=FAILURE_REPORT_S):
                pass
        except grpc.RpcError as err:
            log.warning("failure not reported", extra={"replica": report.replica, "reason": reason, "cause": str(err)})


def build(arguments: dict[str, str]) -> serve.Application:
    """Serve imports this by name from the deployment config."""
    deployment = serve.deployment(name=DEPLOYMENT, max_ongoing_requests=1)(ModelReplica)
    home = ReplicaHome(**json.loads(arguments["home"]))
    return deployment.bind(
        arguments["namespace"],
        arguments["service"],
        arguments["version"],
        arguments["digest"],
        arguments["format"],
        home,
    )
