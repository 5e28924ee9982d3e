"""Signs artifacts and their manifests with a key of this installation: for the control plane alone.

The bundle is the one of OpenSSF model-signing: `model_signing verify key` accepts it for a folder that holds the file
of the model and its `manifest`.
"""

import base64
import hashlib
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from workers.artifacts.digest import hex_of
from workers.artifacts.errors import KeyUnusable
from workers.artifacts.files import sync_folder
from workers.artifacts.trust import (
    BUNDLE_TYPE,
    MANIFEST_NAME,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    hash_for,
    key_id,
    pae,
)


class SigningKey:
    """ECDSA, P-256 where it is made here."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key, public = key, key.public_key()
        self._public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public_der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @classmethod
    def opened(cls, path: Path) -> "SigningKey":
        """The key in a PEM file; made, with its public half as `.pub` beside it, if there is none.

        Raises KeyUnusable, OSError.
        """
        if not path.exists():
            _make(path)
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as err:
            raise KeyUnusable(path, str(err)) from err
        if not isinstance(key, EllipticCurvePrivateKey) or key.curve.key_size not in (256, 384, 521):
            raise KeyUnusable(path, "it is no ECDSA key over P-256, P-384 or P-521")
        return cls(key)

    @property
    def id(self) -> str:
        return key_id(self.public_der)

    def sign(self, file_name: str, artifact: str, manifest: str) -> bytes:
        """A bundle for an artifact, under the name of its file, and its manifest."""
        files = sorted({file_name: hex_of(artifact), MANIFEST_NAME: hex_of(manifest)}.items())
        whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in files)).hexdigest()
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": artifact, "digest": {"sha256": whole}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
                "resources": [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in files],
            },
        }
        payload = json.dumps(statement, separators=(",", ":")).encode()
        signature = self._key.sign(pae(payload), ECDSA(hash_for(self._key.public_key())))
        bundle = {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {
                "publicKey": {"hint": hashlib.sha256(self._public_pem).hexdigest()},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": _text(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": _text(signature), "keyid": ""}],
            },
        }
        return json.dumps(bundle, separators=(",", ":")).encode()


def _make(path: Path) -> None:
    """Two that make it at once end up with the same one."""
    key = generate_private_key(SECP256R1())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    passing = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(passing, path)
        path.with_suffix(".pub").write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        sync_folder(path.parent)
    except FileExistsError:
        pass  # the other one's
    finally:
        passing.unlink()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
