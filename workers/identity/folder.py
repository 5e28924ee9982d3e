"""An identity on disk: `key.pem`, `certificate.pem` (its own first, then what leads up), `authority.pem`.

Behind the certificates stands a seal, the digest of all three: whoever only opens connections checks that and does not
load `cryptography`, which takes 14 MiB of an edge agent's 80. Files without a seal (made by another hand) are parsed.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workers.artifacts.files import replace_file
from workers.identity.errors import IdentityUnreadable, NotEnrolled, NotTrusted
from workers.identity.names import Identity, identity_of

if TYPE_CHECKING:
    from cryptography import x509

    from workers.identity.keys import Key

_SEAL = re.compile(rb"# sha256 of all three: ([0-9a-f]{64})\n\Z")

KEY, CERTIFICATE, AUTHORITY = "key.pem", "certificate.pem", "authority.pem"


@dataclass(frozen=True, slots=True)
class Pems:
    """What a connection is opened with."""

    key: bytes
    certificate: bytes
    authority: bytes

    def __repr__(self) -> str:
        return "Pems(...)"


@dataclass(frozen=True, slots=True)
class Held:
    """One identity whose three files belong together."""

    key_pem: bytes
    certificate_pem: bytes
    authority_pem: bytes
    identity: Identity
    certificate: "x509.Certificate"

    @property
    def fingerprint(self) -> str:
        from workers.identity.keys import fingerprint

        return fingerprint(self.certificate)


class IdentityFolder:
    """Each file is replaced as a whole; the key is written once and never leaves."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def key(self) -> "Key":
        """The one that is there, else a new one. Raises IdentityUnreadable, OSError."""
        from workers.identity.keys import key_to_pem, new_key

        try:
            return self.key_held()
        except NotEnrolled:
            key = new_key()
        self._write(KEY, key_to_pem(key))
        return key

    def key_held(self) -> "Key":
        """The one that is there. Raises NotEnrolled, IdentityUnreadable, OSError."""
        from workers.identity.keys import key_from_pem

        path = self.root / KEY
        try:
            return key_from_pem(path.read_bytes(), str(path))
        except FileNotFoundError as err:
            raise NotEnrolled(f"{self.root}: no key is there") from err

    def forget(self) -> None:
        """All of it, the key last: what is interrupted can be done again. Raises OSError."""
        for name in (CERTIFICATE, AUTHORITY, KEY):
            (self.root / name).unlink(missing_ok=True)

    def save(self, certificate_pem: bytes, authority_pem: bytes) -> Held:
        """Checked before anything is written. Raises IdentityUnreadable, OSError."""
        key_pem = (self.root / KEY).read_bytes()
        held = _checked(key_pem, certificate_pem, authority_pem, self.root)
        # The authority first: between the two, the old certificate still leads to it, or is of no use to anybody, and
        # its key gets another.
        self._write(AUTHORITY, authority_pem)
        self._write(CERTIFICATE, certificate_pem + _seal(key_pem, certificate_pem, authority_pem))
        return held

    def held(self) -> Held:
        """Parsed and checked against each other. Raises NotEnrolled, IdentityUnreadable, OSError."""
        pems, _ = self._read()
        return _checked(pems.key, pems.certificate, pems.authority, self.root)

    def pems(self) -> Pems:
        """As `held`, and parsed only if no seal says that they are whole. Raises as `held`."""
        pems, seal = self._read()
        if seal != _seal(pems.key, pems.certificate, pems.authority):
            _checked(pems.key, pems.certificate, pems.authority, self.root)
        return pems

    def _read(self) -> tuple[Pems, bytes]:
        """With the seal, empty if there is none. Raises NotEnrolled, IdentityUnreadable, OSError."""
        if not (self.root / CERTIFICATE).exists():
            raise NotEnrolled(f"{self.root}: no certificate is there")
        try:
            key, certificate, authority = ((self.root / name).read_bytes() for name in (KEY, CERTIFICATE, AUTHORITY))
        except FileNotFoundError as err:
            raise IdentityUnreadable(f"{err.filename} is missing beside {CERTIFICATE}") from err
        seal = found.group() if (found := _SEAL.search(certificate)) else b""
        return Pems(key, certificate.removesuffix(seal), authority), seal

    def stamp(self) -> tuple[int, ...]:
        """Changes when a file was replaced; cheap enough to be asked at each handshake."""
        return tuple(
            path.stat().st_mtime_ns if (path := self.root / name).exists() else 0 for name in (CERTIFICATE, AUTHORITY)
        )

    def _write(self, name: str, data: bytes) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(self.root / name, data, private=True)


def folder_of(root: Path) -> IdentityFolder:
    """In a part's state folder."""
    return IdentityFolder(root / "identity")


def _seal(*parts: bytes) -> bytes:
    whole = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
    return f"# sha256 of all three: {whole.hexdigest()}\n".encode()


def _checked(key_pem: bytes, certificate_pem: bytes, authority_pem: bytes, root: Path) -> Held:
    """Raises IdentityUnreadable."""
    from workers.identity.keys import certificates_from_pem, fingerprint, key_from_pem
    from workers.identity.trust import check_leads_to, check_whole

    key = key_from_pem(key_pem, str(root / KEY))
    chain = certificates_from_pem(certificate_pem, str(root / CERTIFICATE))
    authority = certificates_from_pem(authority_pem, str(root / AUTHORITY))
    if fingerprint(key) != fingerprint(chain[0]):
        raise IdentityUnreadable(f"{root / CERTIFICATE} is not of the key in {root / KEY}")
    try:
        # A byte that was flipped in either is told here, and not as a failed handshake.
        check_whole(authority)
        check_leads_to(chain, authority)
        return Held(key_pem, certificate_pem, authority_pem, identity_of(chain[0]), chain[0])
    except NotTrusted as err:
        raise IdentityUnreadable(f"{root / CERTIFICATE} beside {AUTHORITY}: {err}") from err
