"""As whom the command speaks: plain text on loopback; elsewhere with the operator's certificate."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.failures import CommandFailed, Unreachable
from orchestrator.settings import is_loopback, settings_from

if TYPE_CHECKING:
    import grpc

    from workers.identity.names import Role

MAX_MESSAGE_BYTES = 64 << 20
IDENTITY = "SKERRY_IDENTITY"
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),  # a proxy from the environment cannot reach this machine's loopback
)


def identity_folder() -> Path:
    """SKERRY_IDENTITY, else the one that `skerry up` made on this machine."""
    named = os.environ.get(IDENTITY)
    return Path(named).expanduser() if named else settings_from(dict(os.environ)).operator_identity


def channel_to(address: str, *roles: str) -> "grpc.Channel":
    """A part of one of these roles; which one is asked of it first, and proven then. Raises CommandFailed."""
    import grpc

    if is_loopback(address):
        return grpc.insecure_channel(address, options=OPTIONS)
    from workers.identity.connecting import Connector
    from workers.identity.errors import IdentityError
    from workers.identity.folder import IdentityFolder
    from workers.identity.names import Role

    folder = identity_folder()
    try:
        role = Role(roles[0]) if len(roles) == 1 else _role_at(address, [Role(one) for one in roles])
        return Connector(IdentityFolder(folder)).blocking(address, role, OPTIONS)
    except OSError as err:
        raise Unreachable(f"nothing answers at {address}: {err}", "check the address, and that it runs") from err
    except IdentityError as err:
        remedy = (
            f"{IDENTITY} names the folder of your certificate; `skerry certificate create NAME --role operator --out "
            f"DIR` makes one where the control plane runs"
        )
        raise CommandFailed(f"{address} is not on loopback, and asks who you are: {err}", remedy) from err


def _role_at(address: str, roles: "list[Role]") -> "Role":
    """What the other side says it is; nothing is believed of it yet. Raises OSError, NotTrusted."""
    import ssl

    from cryptography import x509

    from workers.identity.names import identity_of

    host, _, port = address.rpartition(":")
    said = ssl.get_server_certificate((host.strip("[]"), int(port)), timeout=5.0)
    role = identity_of(x509.load_pem_x509_certificate(said.encode())).role
    return role if role in roles else roles[0]
