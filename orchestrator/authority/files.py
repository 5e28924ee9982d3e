"""An authority whose key is a file: made at first use, or put there by whoever runs another one."""

import datetime
import fcntl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.authority.certificates import self_signed, signed
from orchestrator.errors import Unavailable
from workers.artifacts.files import replace_file
from workers.identity.errors import IdentityUnreadable
from workers.identity.keys import (
    Key,
    certificates_from_pem,
    certificates_to_pem,
    fingerprint,
    key_from_pem,
    key_to_pem,
    new_key,
)
from workers.identity.names import Identity

KEY, CERTIFICATE = "authority.key", "authority.pem"


class FileAuthority:
    """`authority.key` and `authority.pem` in a folder; the first certificate there is of the key, and signs.

    Others after it are trusted too: while one authority takes over from another, both stand there.
    """

    def __init__(self, root: Path, now: datetime.datetime) -> None:
        """Raises Unavailable when the folder cannot be used or its files do not belong together."""
        try:
            self._key, self._certificates = _opened(root, now)
        except (IdentityUnreadable, OSError) as err:
            raise Unavailable(f"authority in {root}: {err}: restore the folder from a backup") from err

    @property
    def certificates(self) -> list[x509.Certificate]:
        return list(self._certificates)

    def certify(
        self, of: ec.EllipticCurvePublicKey, identity: Identity, hosts: Sequence[str], now: datetime.datetime
    ) -> list[x509.Certificate]:
        """The new certificate, then what leads from it to the authority."""
        return [signed(of, identity, hosts, (self._certificates[0], self._key), now)]


def _opened(root: Path, now: datetime.datetime) -> tuple[Key, list[x509.Certificate]]:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / "lock").open("w") as lock:  # `up` and a control plane may be here at once, and there is one authority
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / KEY).exists():
            if (root / CERTIFICATE).exists():
                raise IdentityUnreadable(f"{KEY} is missing beside {CERTIFICATE}")
            key = new_key()
            name = f"Skerry authority {fingerprint(key)[:12]}"
            replace_file(root / CERTIFICATE, certificates_to_pem([self_signed(key, name, now)]), private=True)
            replace_file(root / KEY, key_to_pem(key), private=True)
        key = key_from_pem((root / KEY).read_bytes(), str(root / KEY))
        certificates = certificates_from_pem((root / CERTIFICATE).read_bytes(), str(root / CERTIFICATE))
    if fingerprint(certificates[0]) != fingerprint(key):
        raise IdentityUnreadable(f"the first certificate in {CERTIFICATE} is not of the key in {KEY}")
    return key, certificates
