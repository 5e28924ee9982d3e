"""gRPC's credentials from an identity folder."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import grpc

from workers.identity.errors import IdentityError, NotTrusted
from workers.identity.folder import IdentityFolder, Pems
from workers.identity.names import Identity, Role, identity_of

if TYPE_CHECKING:
    from cryptography import x509

_log = logging.getLogger(__name__)

Options = tuple[tuple[str, str], ...]


def server_credentials(folder: IdentityFolder, callers: bool = True) -> grpc.ServerCredentials:
    """Looks at the folder at each handshake: a renewed certificate is used at once, and no stream notices.

    `callers`: they must have a certificate of the authority too. Raises IdentityError, OSError.
    """
    stamp = folder.stamp()

    def fetch() -> "grpc.ServerCertificateConfiguration | None":
        nonlocal stamp
        if (now := folder.stamp()) == stamp:
            return None
        try:
            configuration = _configuration(folder, callers)
        except (IdentityError, OSError) as err:
            _log.error("cannot read the renewed certificate; going on with the former", extra={"reason": str(err)})
            return None
        stamp = now
        return configuration

    # The stubs forget that None means "as before".
    return grpc.dynamic_ssl_server_credentials(_configuration(folder, callers), fetch, callers)  # type: ignore[arg-type]


def _configuration(folder: IdentityFolder, callers: bool) -> "grpc.ServerCertificateConfiguration":
    pems = folder.pems()
    return grpc.ssl_server_certificate_configuration(
        [(pems.key, pems.certificate)], pems.authority if callers else None
    )


def channel_credentials(folder: IdentityFolder) -> grpc.ChannelCredentials:
    """As the folder is now: a channel keeps what it was opened with. Raises IdentityError, OSError."""
    return credentials_of(folder.pems())


def credentials_of(pems: Pems) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(pems.authority, pems.key, pems.certificate)


def asking_for(role: Role) -> Options:
    """Channel options: the other side must have a certificate of this role, whatever its address."""
    return (("grpc.ssl_target_name_override", role.host),)


def caller(auth_context: Mapping[str, list[bytes]]) -> "tuple[Identity, x509.Certificate]":
    """Who is at the other end of a mutually authenticated connection, from a context's `auth_context()`.

    Raises NotTrusted.
    """
    from cryptography import x509

    pems = auth_context.get("x509_pem_cert")
    if not pems:
        raise NotTrusted("the caller has shown no certificate")
    certificate = x509.load_pem_x509_certificate(pems[0])
    return identity_of(certificate), certificate
