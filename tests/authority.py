"""An authority for tests: certificates of every kind, also of those that nobody should accept."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workers.identity.folder import IdentityFolder
from workers.identity.keys import Key, certificates_to_pem, fingerprint, new_key, request_for
from workers.identity.names import Identity, Role
from workers.identity.tokens import Token, new_token

DAY = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class TestAuthority:
    """Signs what it is asked to."""

    __test__ = False  # pytest takes it for a class of tests otherwise

    def __init__(self, installation: str = "test", begins: datetime.datetime | None = None) -> None:
        self.installation = installation
        self.key = new_key()
        self.certificate = _built(
            _named(f"{installation} authority"),
            _named(f"{installation} authority"),
            self.key,
            self.key,
            (begins or now() - 10 * DAY, now() + 3650 * DAY),
            ca=True,
        )

    @property
    def pem(self) -> bytes:
        return certificates_to_pem([self.certificate])

    @property
    def pin(self) -> str:
        return fingerprint(self.certificate)

    def token(self) -> Token:
        return new_token(self.pin)

    def issue(
        self,
        holder: Key | x509.CertificateSigningRequest,
        role: Role,
        name: str,
        site: str = "",
        begins: datetime.datetime | None = None,
        ends: datetime.datetime | None = None,
    ) -> bytes:
        """A certificate in PEM, valid from an hour ago for a day unless told otherwise."""
        identity = Identity(self.installation, role, name, site)
        names = [x509.UniformResourceIdentifier(identity.uri), x509.DNSName(role.host)]
        lasts = (begins or now() - DAY / 24, ends or now() + DAY)
        built = _built(_named(name), self.certificate.subject, holder, self.key, lasts, ca=False, names=names)
        return certificates_to_pem([built])

    def enrol(self, root: Path, role: Role, name: str, site: str = "", **dates: datetime.datetime) -> IdentityFolder:
        """A folder that holds an identity of this authority."""
        folder = IdentityFolder(root)
        folder.save(self.issue(folder.key(), role, name, site, **dates), self.pem)
        return folder


def foreign_leaf(name: str = "web") -> tuple[bytes, bytes]:
    """Key and certificate, in PEM, of a server that has nothing to do with Skerry."""
    from workers.identity.keys import key_to_pem

    key = new_key()
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    built = _built(_named(name), _named(name), key, key, (now() - DAY, now() + DAY), ca=False, names=names)
    return key_to_pem(key), certificates_to_pem([built])


def request_of(key: Key, name: str = "n1") -> x509.CertificateSigningRequest:
    return x509.load_pem_x509_csr(request_for(key, name))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _built(
    subject: x509.Name,
    issuer: x509.Name,
    holder: Key | x509.CertificateSigningRequest,
    signer: Key,
    lasts: tuple[datetime.datetime, datetime.datetime],
    ca: bool,
    names: list[x509.GeneralName] | None = None,
) -> x509.Certificate:
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = (
        x509.CertificateBuilder(issuer, subject, holder.public_key(), x509.random_serial_number(), *lasts)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(holder.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(signer, hashes.SHA256())
