"""What this agent is, as it tells a front."""

from importlib.metadata import PackageNotFoundError, version

from protos.link.v1 import link_pb2 as pb

PROTOCOL = 1
CAPABILITIES = ("bulk", "chunks", "relay", "probe", "litert", "deltas")


def own_software() -> pb.Software:
    return pb.Software(version=own_version(), protocol=PROTOCOL, capabilities=CAPABILITIES)


def own_version() -> str:
    try:
        return version("skerry")
    except PackageNotFoundError:
        return "unknown"
