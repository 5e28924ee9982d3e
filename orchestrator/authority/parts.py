"""Certificates for the parts that `skerry up` starts itself: made before they start, renewed beside them."""

import datetime
from collections.abc import Sequence
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.authority.certificates import RENEW_AFTER, installation_of
from workers.identity.errors import IdentityError
from workers.identity.folder import IdentityFolder
from workers.identity.keys import certificates_to_pem
from workers.identity.names import Identity, Role


class Authority(Protocol):
    """Signs. Raises Unavailable when it cannot."""

    @property
    def certificates(self) -> list[x509.Certificate]:
        """That it is trusted by; the first one tells installations apart."""
        ...

    def certify(
        self, of: ec.EllipticCurvePublicKey, identity: Identity, hosts: Sequence[str], now: datetime.datetime
    ) -> list[x509.Certificate]:
        """The new certificate, then what leads from it to one of `certificates`."""
        ...


def certify_part(
    authority: Authority, folder: IdentityFolder, role: Role, name: str, hosts: Sequence[str], now: datetime.datetime
) -> bool:
    """Make or renew one part's certificate where that is due; whether it was. Raises Unavailable, OSError."""
    identity = Identity(installation_of(authority.certificates), role, name)
    if not _due(authority, folder, identity, hosts, now):
        return False
    chain = authority.certify(folder.key().public_key(), identity, hosts, now)
    folder.save(certificates_to_pem(chain), certificates_to_pem(authority.certificates))
    return True


def _due(
    authority: Authority, folder: IdentityFolder, identity: Identity, hosts: Sequence[str], now: datetime.datetime
) -> bool:
    try:
        held = folder.held()
        names = held.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (IdentityError, x509.ExtensionNotFound):
        return True
    known = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    return (
        held.identity != identity
        or not known.issuperset(hosts)
        or held.authority_pem != certificates_to_pem(authority.certificates)
        or not held.certificate.not_valid_before_utc <= now < held.certificate.not_valid_before_utc + RENEW_AFTER
    )
