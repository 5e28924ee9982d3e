"""The form of our certificates: X.509 as RFC 5280 has it, with a SPIFFE id and the role's name."""

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workers.identity.keys import Key, fingerprint
from workers.identity.names import Identity

AUTHORITY_LIFE = datetime.timedelta(days=3650)
# Longer than a policy's default `valid_offline_s` of a week: a node that is cut off serves its LAN by this certificate
# for as long as its policy lets it. Revocation does not wait for it to end: fronts are told.
LIFE = datetime.timedelta(days=14)
RENEW_AFTER = datetime.timedelta(days=1)
BACKDATED = datetime.timedelta(hours=1)  # for clocks that are behind


def installation_of(authority: Sequence[x509.Certificate]) -> str:
    """What tells one installation's names from another's: it follows the authority."""
    return f"skerry-{fingerprint(authority[0])[:12]}"


def self_signed(key: Key, name: str, now: datetime.datetime) -> x509.Certificate:
    """An authority's own."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _begun(key.public_key(), subject, subject, now, AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return builder.sign(key, hashes.SHA256())


def signed(
    of: ec.EllipticCurvePublicKey,
    identity: Identity,
    hosts: Sequence[str],
    by: tuple[x509.Certificate, Key],
    now: datetime.datetime,
) -> x509.Certificate:
    """A part's certificate. `hosts`: names and addresses that callers from outside know it by."""
    issuer, key = by
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(identity)[:64])])
    builder = _begun(of, subject, issuer.subject, now, LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    builder = builder.add_extension(both, critical=False)
    names = [x509.UniformResourceIdentifier(identity.uri), x509.DNSName(identity.role.host), *map(_host, hosts)]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return builder.add_extension(above, critical=False).sign(key, hashes.SHA256())


def _begun(
    key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    issuer: x509.Name,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - BACKDATED).not_valid_after(now + life)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
