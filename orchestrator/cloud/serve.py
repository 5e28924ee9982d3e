"""Serve as the keeper of cloud replicas: one application for each version of a service, deployed in place by config."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import ray
from pydantic import ValidationError
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, DeploymentSchema, ServeApplicationSchema, ServeDeploySchema

from orchestrator.errors import CloudUnavailable
from orchestrator.model.running import CloudReplicas
from workers.identity.connecting import Connector
from workers.identity.folder import IdentityFolder

DEPLOYMENT = "replica"
# Object names have no dot. A slash would do for Serve's API, but Serve names log files by applications.
SEPARATOR = "."
# Serve's own health check heals a replica that hangs; a killed one it sees at once.
HEALTH_CHECK_PERIOD_S = 5.0
SHUTDOWN_GRACE_S = 3.0


@dataclass(frozen=True, slots=True)
class ReplicaHome:
    """What every cloud replica of a region needs to know of its surroundings."""

    region: str
    control_address: str
    artifacts_url: str
    cache_dir: str
    host: str = "127.0.0.1"  # its own, as gateways dial it
    identity_dir: str = ""  # of replicas' certificate, for what is not on loopback

    def connector(self) -> Connector:
        return Connector(IdentityFolder(Path(self.identity_dir)) if self.identity_dir else None)


class EmbeddedServe:
    """The Serve of the Ray that this process is connected to; implements control's Cloud seam.

    Requests never pass through Serve: no proxy is started and no handle is held (docs/decisions/0006).
    """

    def __init__(self, home: ReplicaHome) -> None:
        self._home = home

    async def deploy(self, wanted: Sequence[CloudReplicas]) -> None:
        """Bring the region to `wanted`. What failed is tried again; what runs is kept, also at another number."""
        try:
            config = _config(wanted, self._home)
            await asyncio.to_thread(_deploy, config)
        except (RayError, RayServeException, TimeoutError, ValidationError) as err:
            raise CloudUnavailable(f"Serve of region {self._home.region} did not take the deployment: {err}") from err

    async def problems(self) -> Mapping[tuple[str, str], str]:
        """Per (namespace, service) why Serve cannot bring it up."""
        try:
            status = await asyncio.to_thread(_status)
        except (RayError, RayServeException, TimeoutError) as err:
            raise CloudUnavailable(f"Serve of region {self._home.region} does not answer: {err}") from err
        return {
            (namespace, service): message
            for name, (failed, message) in status.items()
            if failed
            for namespace, service, *_ in [name.split(SEPARATOR)]
        }


def _config(wanted: Sequence[CloudReplicas], home: ReplicaHome) -> ServeDeploySchema:
    return ServeDeploySchema(applications=[_application(w, home) for w in sorted(wanted, key=_name) if w.count > 0])


def _name(wanted: CloudReplicas) -> str:
    # With the digest: two variants of one version are two applications, the successor beside its predecessor.
    digest = wanted.digest.removeprefix("sha256:")[:12]
    return SEPARATOR.join((wanted.namespace, wanted.service, wanted.version, digest))


def _application(wanted: CloudReplicas, home: ReplicaHome) -> ServeApplicationSchema:
    # The arguments are part of the application's identity: a number in them would replace every replica at each change.
    arguments = {
        "namespace": wanted.namespace,
        "service": wanted.service,
        "version": wanted.version,
        "digest": wanted.digest,
        "format": wanted.format,
        "home": json.dumps(asdict(home), sort_keys=True),
    }
    return ServeApplicationSchema(
        name=_name(wanted),
        route_prefix=None,
        import_path="orchestrator.cloud.replica:build",
        args=arguments,
        deployments=[
            DeploymentSchema(
                name=DEPLOYMENT,
                num_replicas=wanted.count,
                health_check_period_s=HEALTH_CHECK_PERIOD_S,
                graceful_shutdown_timeout_s=SHUTDOWN_GRACE_S,
                ray_actor_options={"num_cpus": wanted.compute_millis / 1000, "memory": wanted.memory_bytes},
            )
        ],
    )


def _deploy(config: ServeDeploySchema) -> None:
    from ray.serve.context import _get_global_client

    # The public way to deploy a config is the dashboard's REST route; the dashboard costs 240 MiB and a port.
    client = _get_global_client()
    if client is None:
        raise CloudUnavailable("Serve is not running")
    client.deploy_apps(config)


def _status() -> dict[str, tuple[bool, str]]:
    from ray import serve

    if not ray.is_initialized():
        raise CloudUnavailable("Ray is not running")
    failed = (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY)
    return {
        name: (application.status in failed, application.message or str(application.status))
        for name, application in serve.status().applications.items()
        if name.count(SEPARATOR) == 3
    }
