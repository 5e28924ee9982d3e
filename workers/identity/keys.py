"""Private keys, and requests for certificates of them."""

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from workers.identity.errors import IdentityUnreadable

Key = ec.EllipticCurvePrivateKey

MOST_PEM_BYTES = 64 << 10  # a chain of ten certificates takes 10 KiB

_SPOILT = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def new_key() -> Key:
    """P-256: a handshake costs a small node a tenth of RSA's, and every TLS library takes it."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_pem(data: bytes, what: str) -> Key:
    """`what`: the file, for the error. Raises IdentityUnreadable."""
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise IdentityUnreadable(f"{what}: no private key can be read from it: {err}") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IdentityUnreadable(f"{what}: holds a key of another kind than ECDSA")
    return key


def fingerprint(holder: Key | ec.EllipticCurvePublicKey | x509.Certificate) -> str:
    """Of its public key: sha256 of the DER SubjectPublicKeyInfo, hex. It stays when a certificate is renewed."""
    key = holder if isinstance(holder, ec.EllipticCurvePublicKey) else holder.public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def request_for(key: Key, name: str) -> bytes:
    """PKCS #10 in PEM. The authority takes the key from it and nothing else; the name is for who reads a log."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def certificates_from_pem(data: bytes, what: str) -> list[x509.Certificate]:
    """At least one, and each can be looked into: what is wrong with one is found here. Raises IdentityUnreadable."""
    if len(data) > MOST_PEM_BYTES:
        raise IdentityUnreadable(f"{what}: {len(data)} bytes, more than {MOST_PEM_BYTES}")
    try:
        found = x509.load_pem_x509_certificates(data)
        for one in found:
            # Parsed when they are first asked for.
            _ = one.public_key(), one.extensions, one.issuer, one.subject
            _ = one.not_valid_before_utc, one.not_valid_after_utc
        return found
    except _SPOILT as err:
        raise IdentityUnreadable(f"{what}: no certificate can be read from it: {err}") from err


def certificates_to_pem(certificates: list[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)
