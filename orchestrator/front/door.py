"""Who may come in by the link, and how the front's addresses are bound."""

import logging
from pathlib import Path

import grpc
import grpc.aio

from orchestrator.errors import Forbidden, Unavailable
from workers.identity.errors import IdentityError
from workers.identity.folder import IdentityFolder
from workers.identity.names import Identity, Role
from workers.identity.tls import caller, server_credentials

log = logging.getLogger(__name__)


class Door:
    """Lets in nodes whose certificate TLS has checked and whose key is not revoked; plain: everybody, on loopback."""

    def __init__(self, plain: bool) -> None:
        self._plain = plain
        self.revoked: frozenset[str] = frozenset()

    def admit(self, context: "grpc.aio.ServicerContext[object, object]") -> str:
        """The key of the node that calls; empty where nobody shows one. Raises Forbidden."""
        return "" if self._plain else self._caller(context)[1]

    def admit_as(self, context: "grpc.aio.ServicerContext[object, object]", node: str, site: str = "") -> str:
        """As `admit`, of the node that the caller says it is. Raises Forbidden."""
        if self._plain:
            return ""
        identity, key = self._caller(context)
        if identity.name != node or (site and identity.site != site):
            said = f"node {node}" + (f" of site {site}" if site else "")
            raise Forbidden(f"the certificate is of {identity}, and says it is {said}: join under that name")
        return key

    def _caller(self, context: "grpc.aio.ServicerContext[object, object]") -> tuple[Identity, str]:
        try:
            identity, key = caller(context.auth_context())
        except IdentityError as err:
            raise Forbidden(str(err)) from err
        if identity.role is not Role.NODE:
            raise Forbidden(f"the certificate is of {identity}, and this address is for nodes")
        if key in self.revoked:
            raise Forbidden(f"the enrolment of {identity} was ended: join again with --anew and a new token")
        return identity, key


def bind(server: grpc.aio.Server, what: str, address: str, identity_dir: Path | None, callers: bool = True) -> str:
    """The address as bound; with TLS where there is an identity. Raises Unavailable.

    `callers`: they must show a certificate too.
    """
    try:
        if identity_dir is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, server_credentials(IdentityFolder(identity_dir), callers))
    except RuntimeError as err:
        remedy = f"stop whoever holds the port, or give another one with --{what}"
        raise Unavailable(f"{what} address {address} cannot be bound: {remedy}") from err
    except (IdentityError, OSError) as err:
        raise Unavailable(f"{what} address {address}: the front's certificate cannot be used: {err}") from err
    return f"{address.rpartition(':')[0]}:{port}"
