"""gRPC's credentials from an identity folder."""

import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache

import grpc

from workers.identity.errors import IdentityError, NotTrusted
from workers.identity.folder import IdentityFolder, Pems
from workers.identity.names import Identity, Role, identity_of

_log = logging.getLogger(__name__)

PEERS_KNOWN = 20_000  # parsed certificates that are remembered; an echo a second comes from each node

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


def caller(auth_context: Mapping[str, Iterable[bytes]]) -> tuple[Identity, str]:
    """Who is at the other end of a connection, and the fingerprint of its key, from a context's `auth_context()`.

    TLS has checked the certificate. Raises NotTrusted, also where none was shown.
    """
    pems = list(auth_context.get("x509_pem_cert", ()))
    if not pems:
        raise NotTrusted("the caller has shown no certificate: it must join first, with `skerry-edge join`")
    return _parsed(pems[0])


@lru_cache(PEERS_KNOWN)
def _parsed(pem: bytes) -> tuple[Identity, str]:
    """Raises NotTrusted."""
    from cryptography import x509

    from workers.identity.keys import fingerprint

    certificate = x509.load_pem_x509_certificate(pem)
    return identity_of(certificate), fingerprint(certificate)
