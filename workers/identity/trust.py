"""Whether a certificate is what it should be, where TLS itself does not look."""

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from workers.identity.errors import NotTrusted
from workers.identity.keys import fingerprint
from workers.identity.names import Identity, Role, identity_of, serial_of


def proven(
    chain: list[x509.Certificate], authority: list[x509.Certificate], role: Role, at: datetime.datetime
) -> Identity:
    """Who the chain's first certificate is of: it leads to the authority, is valid `at`, and of `role`.

    Raises NotTrusted.
    """
    for certificate in chain:
        _check_time(certificate, at)
    check_leads_to(chain, authority)
    found = identity_of(chain[0])
    hosts = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if found.role is not role or role.host not in hosts.get_values_for_type(x509.DNSName):
        raise NotTrusted(f"certificate {serial_of(chain[0])} is of {found}, not of a {role}")
    return found


def check_leads_to(chain: list[x509.Certificate], authority: list[x509.Certificate]) -> None:
    """Each was issued by the next, and the last by the authority. Raises NotTrusted."""
    for above, below in zip([*chain[1:], None], chain, strict=True):
        _check_issued(below, [above] if above else authority)


def check_whole(authority: list[x509.Certificate]) -> None:
    """What vouches for itself is as it was signed: TLS does not look there. Raises NotTrusted."""
    for certificate in authority:
        if certificate.issuer == certificate.subject:
            _check_issued(certificate, [certificate])


def _check_time(certificate: x509.Certificate, at: datetime.datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begins <= at <= ends:
        raise NotTrusted(
            f"certificate {serial_of(certificate)} is valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC, "
            f"and it is {at:%Y-%m-%d %H:%M} UTC here: renew it, or set the clock"
        )


def _check_issued(certificate: x509.Certificate, issuers: list[x509.Certificate]) -> None:
    for issuer in issuers:
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            continue
        if _may_issue(issuer):
            return
    known = ", ".join(fingerprint(one)[:16] for one in issuers)
    raise NotTrusted(f"certificate {serial_of(certificate)} was not issued by the authority {known}")


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
