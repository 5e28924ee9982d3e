"""What a certificate says of its holder."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from workers.identity.errors import NotTrusted

if TYPE_CHECKING:
    from cryptography import x509

DOMAIN = "skerry.internal"  # `internal` is never delegated (ICANN, 2024): no name here is anybody's host
_URI = re.compile(
    r"spiffe://(?P<installation>[a-z0-9-]{1,63})/(?P<role>[a-z]+)/(?P<name>[a-z0-9.-]{1,253})(/(?P<site>[a-z0-9.-]{1,253}))?"
)


class Role(StrEnum):
    CONTROL = "control"
    FRONT = "front"
    NODE = "node"
    REPLICA = "replica"
    OPERATOR = "operator"
    SERVICE = "service"  # that calls inference

    @property
    def host(self) -> str:
        """The DNS name in every certificate of this role, which is asked for whatever the address."""
        return f"{self.value}.{DOMAIN}"


@dataclass(frozen=True, slots=True)
class Identity:
    """A part of one installation; `site` is a node's."""

    installation: str
    role: Role
    name: str
    site: str = ""

    @property
    def uri(self) -> str:
        """SPIFFE id, https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md"""
        return f"spiffe://{self.installation}/{self.role}/{self.name}" + (f"/{self.site}" if self.site else "")

    def __str__(self) -> str:
        return f"{self.role} {self.name}" + (f" of site {self.site}" if self.site else "")


def identity_of(certificate: "x509.Certificate") -> Identity:
    """Raises NotTrusted for a certificate that names no part."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as err:
        raise NotTrusted(f"certificate {serial_of(certificate)} names no part of Skerry: {err}") from err
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    found = _URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if found is None or found["role"] not in {role.value for role in Role}:
        raise NotTrusted(f"certificate {serial_of(certificate)} names no part of Skerry: its URIs are {uris}")
    return Identity(found["installation"], Role(found["role"]), found["name"], found["site"] or "")


def serial_of(certificate: "x509.Certificate") -> str:
    return f"{certificate.serial_number:x}"
