"""`python -m orchestrator.front`: one front, as `skerry up` starts it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.front.nodes import MOST_HEARTBEAT_S
from orchestrator.front.process import run
from orchestrator.front.settings import FrontSettings


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.front", description="One front: gateway, node links, relay."
    )
    parser.add_argument("--name", required=True, help="of this front; unique in the installation")
    parser.add_argument("--region", default="local", help="the region it stands in")
    parser.add_argument("--zone", default="default", help="of the callers that enter here")
    parser.add_argument("--control", default="127.0.0.1:7070", help="host:port of the control plane")
    parser.add_argument("--gateway", default="127.0.0.1:8001", help="host:port for inference callers")
    parser.add_argument("--link", default="127.0.0.1:7071", help="host:port for nodes")
    parser.add_argument("--identity-dir", type=Path, help="of this front's certificate; none: plain text, on loopback")
    parser.add_argument("--enrolment", default="", help="host:port for machines that join")
    parser.add_argument(
        "--host", action="append", default=[], help="by which others know this machine; may be repeated"
    )
    parser.add_argument("--artifacts", required=True, help="fsspec URL of the artifacts")
    parser.add_argument("--state-dir", required=True, type=Path, help="where the last orders are kept")
    parser.add_argument("--heartbeat-s", type=float, default=10.0, help="between signs of life of a node (%(default)s)")
    given = parser.parse_args(arguments)
    if not 0.1 <= given.heartbeat_s <= MOST_HEARTBEAT_S:
        parser.error(f"--heartbeat-s {given.heartbeat_s:g}: give seconds from 0.1 to {MOST_HEARTBEAT_S:g}")
    return run(
        FrontSettings(
            name=given.name,
            region=given.region,
            zone=given.zone,
            control_address=given.control,
            gateway_address=given.gateway,
            link_address=given.link,
            artifacts_url=given.artifacts,
            state_dir=given.state_dir,
            identity_dir=given.identity_dir,
            enrolment_address=given.enrolment,
            hosts=tuple(given.host),
            heartbeat_s=given.heartbeat_s,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
