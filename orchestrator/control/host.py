"""The process that holds the embedded Ray, and in it the control plane as a Serve deployment.

It ends when Ray's head dies: the supervisor starts it anew, and the control plane goes on from the store.
"""

import json
import logging
import os
import signal
import sys
import threading
from types import FrameType

from orchestrator.cloud.ray_node import end_processes, head_processes, instance_of, start_embedded_ray
from orchestrator.errors import CloudUnavailable, OrchestratorError
from orchestrator.lines import log_to
from orchestrator.settings import CONTROL_LOG, Settings, settings_from

log = logging.getLogger(__name__)

APPLICATION = "skerry-control"
HEAD_CHECK_S = 0.5
HEAD_DIED = 3  # exit code


def main() -> int:
    log_to(sys.stderr)
    settings = settings_from()
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        start_embedded_ray(instance_of(settings.state_dir))
        deploy_control(settings)
    except OrchestratorError as err:
        log.error("control plane not started", extra={"reason": str(err)})
        print(f"error: {err}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, on_signal)  # Ray installs its own
    return watch_head(stop)


def deploy_control(settings: Settings) -> None:
    """The control plane as a Serve deployment; no proxy is started. Returns when it is deployed.

    Raises CloudUnavailable.
    """
    from ray import serve

    from orchestrator.control.deployment import ControlDeployment

    serve.start(http_options={"location": "NoServer"})
    application = ControlDeployment.bind(json.dumps(settings.environ()))
    try:
        serve.run(application, name=APPLICATION, route_prefix=None)
    except RuntimeError as err:
        # Serve says that it failed, not why; the control plane wrote that down itself.
        raise CloudUnavailable(f"the control plane did not start; see {settings.logs_dir / CONTROL_LOG}") from err


def watch_head(stop: threading.Event) -> int:
    """Until told to stop (0), or Ray's head is no longer whole (HEAD_DIED): then the rest of it is ended."""
    whole = {p.pid for p in head_processes()}
    while not stop.wait(HEAD_CHECK_S):
        heads = head_processes()
        running = {p.pid for p in heads if p.status() != "zombie"}
        if running != whole:
            log.error("Ray's head died", extra={"missing_pids": sorted(whole - running)})
            end_processes(heads)
            # Ray's own exit hooks would wait for the dead head.
            os._exit(HEAD_DIED)
    import ray

    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
