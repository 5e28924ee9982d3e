"""Who may sign what nodes load, and what of it was revoked: files that operators write, read again when they change.

In the folder: `trusted/*.pub` (PEM, keys beside the installation's own) and `revocations.json`, an object with "keys"
(SHA-256 of a key's DER, hex) and "artifacts" (digests). A file that cannot be read changes nothing: what it said before
holds, since a typing mistake must neither trust nor stop anything.
"""

import json
import logging
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from workers.artifacts.digest import parse_digest
from workers.artifacts.errors import DigestInvalid
from workers.artifacts.trust import Trust

log = logging.getLogger(__name__)

HEX_DIGITS = frozenset("0123456789abcdef")


class TrustFolder:
    """Calls block on the disk."""

    def __init__(self, root: Path, own_der: bytes, valid_s: float) -> None:
        self._root, self._own_der, self._valid_s = root, own_der, int(valid_s)
        self._keys: tuple[bytes, ...] = ()
        self._revoked: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._said = ""

    def read(self) -> Trust:
        problems: list[str] = []
        try:
            self._keys = self._trusted()
        except (OSError, ValueError, UnsupportedAlgorithm) as err:
            problems.append(f"{self._root / 'trusted'}: {err}")
        try:
            self._revoked = self._revocations()
        except (OSError, ValueError, RecursionError, DigestInvalid) as err:
            problems.append(f"{self._root / 'revocations.json'}: {err}")
        self._tell("; ".join(problems))
        return Trust((self._own_der, *self._keys), *self._revoked, self._valid_s)

    def _tell(self, problem: str) -> None:
        if problem and problem != self._said:
            log.error("who is trusted cannot be read: what was said before holds", extra={"reason": problem})
        self._said = problem

    def _trusted(self) -> tuple[bytes, ...]:
        found = sorted((self._root / "trusted").glob("*.pub"))
        keys = [load_pem_public_key(path.read_bytes()) for path in found]
        return tuple(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys)

    def _revocations(self) -> tuple[frozenset[str], frozenset[str]]:
        try:
            found = json.loads((self._root / "revocations.json").read_bytes())
        except FileNotFoundError:
            return frozenset(), frozenset()
        if not isinstance(found, dict) or not found.keys() <= {"keys", "artifacts"}:
            raise ValueError('give an object with "keys" and "artifacts"')
        keys, artifacts = (_texts(found.get(name, []), name) for name in ("keys", "artifacts"))
        for key in keys:
            if len(key) != 64 or not HEX_DIGITS.issuperset(key):
                raise ValueError(f"keys: {key!r}: give the 64 hexadecimal digits of its SHA-256")
        return frozenset(keys), frozenset(parse_digest(digest) for digest in artifacts)


def _texts(found: object, name: str) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f"{name}: give a list of texts")
    return found
