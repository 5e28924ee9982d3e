"""The embedded Ray: one machine, pinned to loopback, for a region that has no cluster of its own."""

import hashlib
import logging
import os
import tempfile
from pathlib import Path

import psutil

from orchestrator.errors import CloudUnavailable

log = logging.getLogger(__name__)

# Every process of one installation carries it, so that what a killed Ray left behind is found, and nothing else.
MARKER = "SKERRY_INSTANCE"
PART = "SKERRY_PART"
OBJECT_STORE_BYTES = 128 * 1024 * 1024  # models travel as artifacts, not as Ray objects
# Logical CPUs: Serve replicas and training workers share the machine; claims, not Ray, decide what fits.
LOGICAL_CPUS = 64


def instance_of(state_dir: Path) -> str:
    """Names the installation whose state is in `state_dir`."""
    return hashlib.sha256(str(state_dir).encode()).hexdigest()[:12]


def ray_temp_dir(instance: str) -> Path:
    # Unix socket paths end at 107 bytes and Ray adds about 60: the state folder may be too deep.
    return Path(tempfile.gettempdir()) / f"skerry-ray-{os.getuid()}-{instance}"


def start_embedded_ray(instance: str) -> None:
    """Start Ray's head in this process's care and connect to it. Raises CloudUnavailable with Ray's reason."""
    # Ray reads these at import. No usage report leaves the machine; no dashboard; token auth would write to the home.
    os.environ.update(
        {
            MARKER: instance,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_DEDUP_LOGS": "0",
            "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
            # On Linux Ray takes 127.0.0.1 for "any address of this machine" and listens on all of them. With clusters
            # switched off, as Ray has it on other systems, the head, its workers and the object store stay on loopback.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
    )
    import ray

    try:
        ray.init(
            address="local",
            num_cpus=LOGICAL_CPUS,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(ray_temp_dir(instance)),
            namespace="skerry",
        )
    except (RuntimeError, ConnectionError, OSError, ValueError) as err:
        raise CloudUnavailable(
            f"the embedded Ray did not start: {err}; see {ray_temp_dir(instance)}/session_latest/logs"
        ) from err


def keep_serve_on_loopback() -> None:
    """Call it in a deployment's constructor: right after it, Serve opens the replica's own gRPC port.

    Serve 2.60 binds that port, which takes plain text and which nothing here uses, to every address of the machine and
    has no setting for it.
    """
    from ray.serve._private import replica

    bind = replica.add_port_to_grpc_server

    def bind_to_loopback(server: object, address: str) -> int:
        return int(bind(server, address.replace("[::]", "127.0.0.1")))

    replica.add_port_to_grpc_server = bind_to_loopback


def head_processes() -> list[psutil.Process]:
    """Ray's head as children of this process: without one of these the cluster is dead."""
    children = psutil.Process().children(recursive=True)
    return [p for p in children if Path((_cmdline(p) or [""])[0]).name in ("gcs_server", "raylet")]


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def leftovers(instance: str, part: str | None = None) -> list[psutil.Process]:
    """Processes that carry this installation's marker (and, if given, the part's), but not this one and its parents."""
    mine = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    return [p for p in psutil.process_iter() if p.pid not in mine and _belongs(p, instance, part)]


def _belongs(process: psutil.Process, instance: str, part: str | None) -> bool:
    try:
        environ = process.environ()
    except (psutil.Error, OSError):
        return False
    return environ.get(MARKER) == instance and part in (None, environ.get(PART))


def end_processes(processes: list[psutil.Process], grace_s: float = 3.0) -> None:
    """Ask, wait, then kill."""
    for process in processes:
        _signal(process, kill=False)
    _, alive = psutil.wait_procs(processes, timeout=grace_s)
    for process in alive:
        _signal(process, kill=True)
    psutil.wait_procs(alive, timeout=grace_s)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        return
