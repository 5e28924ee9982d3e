"""Signatures: what a trusted key said of an artifact, and everything else refused."""

import base64
import json
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from made import cut_small

from workers.artifacts.checking import check_apart
from workers.artifacts.errors import CheckBroken, KeyUnusable, SignatureRefused
from workers.artifacts.signing import SigningKey
from workers.artifacts.trust import BUNDLE_MOST_BYTES, Trust, check

MODEL_SIGNING = Path(__file__).resolve().parents[2] / ".venvs" / "modelsigning" / "bin" / "python"
DATA = b"a model" * 1000
MANIFEST = cut_small(DATA)
OTHER = cut_small(b"another model")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.opened(tmp_path_factory.mktemp("pki") / "signing.key")


@pytest.fixture
def bundle(key: SigningKey) -> bytes:
    return key.sign("model.tflite", MANIFEST.artifact, MANIFEST.digest)


def trust(*keys: SigningKey, **fields: object) -> Trust:
    return Trust(**{"keys": tuple(each.public_der for each in keys), "valid_s": 3600, **fields})


def verdict(bundle: bytes | None, trusted: Trust, silent_s: float = 0.0, manifest: str = MANIFEST.digest) -> str:
    try:
        check(MANIFEST.artifact, manifest, bundle, trusted, silent_s)
    except SignatureRefused as err:
        return str(err).removeprefix(f"artifact {MANIFEST.artifact}: not loaded: ")
    return "accepted"


def test_what_a_trusted_key_signed_is_accepted(key: SigningKey, bundle: bytes, tmp_path: Path) -> None:
    other = SigningKey.opened(tmp_path / "other.key")
    assert verdict(bundle, trust(key)) == "accepted"
    assert verdict(bundle, trust(other, key), silent_s=3600) == "accepted"
    assert verdict(bundle, trust(key), manifest="") == "accepted"


def test_without_trusted_keys_nothing_need_be_signed(bundle: bytes) -> None:
    assert verdict(None, trust()) == "accepted"
    assert verdict(b"garbage", trust(), silent_s=1e9) == "accepted"


def test_with_them_everything_else_is_refused_with_its_reason(key: SigningKey, bundle: bytes, tmp_path: Path) -> None:
    other = SigningKey.opened(tmp_path / "other.key")
    assert verdict(None, trust(key)).startswith("it is not signed: register the version again")
    assert verdict(bundle, trust(other)).startswith("no trusted key signed what it says")
    assert verdict(bundle, trust(key, revoked_keys=frozenset({key.id}))).startswith("its key was revoked")
    assert verdict(bundle, trust(key, revoked_artifacts=frozenset({MANIFEST.artifact}))).startswith("it was revoked")
    assert verdict(bundle, trust(key), silent_s=3601.0) == (
        "revocations are 3601 s old, they hold for 3600 s: restore the link to a front"
    )
    elsewhere = key.sign("model.tflite", OTHER.artifact, OTHER.digest)
    assert verdict(elsewhere, trust(key)).startswith("a trusted key signed something else")
    mixed = key.sign("model.tflite", MANIFEST.artifact, OTHER.digest)
    assert verdict(mixed, trust(key)).startswith("a trusted key signed another manifest")
    assert verdict(b"{}" * BUNDLE_MOST_BYTES, trust(key)).startswith("its signature is no bundle (ValueError: it has")


def test_a_revoked_artifact_is_refused_where_nothing_is_signed_too() -> None:
    assert verdict(None, trust(revoked_artifacts=frozenset({MANIFEST.artifact}))).startswith("it was revoked")


@given(st.integers(0), st.integers(1, 255))
def test_a_flipped_byte_never_vouches_for_another_artifact(key: SigningKey, at: int, flip: int) -> None:
    spoilt = bytearray(key.sign("model.tflite", OTHER.artifact, OTHER.digest))
    spoilt[at % len(spoilt)] ^= flip
    assert verdict(bytes(spoilt), trust(key)) != "accepted"


@given(st.binary(max_size=300))
def test_garbage_is_no_signature(key: SigningKey, data: bytes) -> None:
    assert verdict(data, trust(key)).startswith("its signature is no bundle")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = [("mediaType",), ("dsseEnvelope",), *(("dsseEnvelope", name) for name in ("payload", "payloadType"))]
PLACES += [("dsseEnvelope", "signatures"), ("dsseEnvelope", "signatures", 0), ("dsseEnvelope", "signatures", 0, "sig")]


@given(st.sampled_from(PLACES), JSON)
def test_any_other_value_anywhere_is_refused(key: SigningKey, place: tuple, value: object) -> None:
    changed = json.loads(key.sign("model.tflite", MANIFEST.artifact, MANIFEST.digest))
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    assert verdict(json.dumps(changed).encode(), trust(key)) != "accepted"


@given(JSON)
def test_a_signed_statement_of_another_shape_is_refused(key: SigningKey, statement: object) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    from workers.artifacts.trust import pae

    payload = json.dumps(statement).encode()
    changed = json.loads(key.sign("model.tflite", MANIFEST.artifact, MANIFEST.digest))
    signature = key._key.sign(pae(payload), ECDSA(SHA256()))
    changed["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    changed["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode()}]
    assert verdict(json.dumps(changed).encode(), trust(key)).startswith("the signed statement cannot be read")


@given(st.binary(max_size=100))
def test_a_trusted_key_that_is_none_signs_nothing(key: SigningKey, der: bytes) -> None:
    bundle = key.sign("model.tflite", MANIFEST.artifact, MANIFEST.digest)
    assert verdict(bundle, Trust(keys=(der,), valid_s=60)).startswith("no trusted key")
    assert verdict(bundle, Trust(keys=(der, key.public_der), valid_s=60)) == "accepted"


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "pki" / "signing.key"
    first, second = SigningKey.opened(path), SigningKey.opened(path)
    assert first.id == second.id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == ["signing.key", "signing.pub"]


def test_a_file_that_holds_no_such_key_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    ed25519 = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"garbage", ed25519):
        path.write_bytes(content)
        with pytest.raises(KeyUnusable, match=r"signing\.key: .*move it away and a new one is made"):
            SigningKey.opened(path)


@pytest.mark.real
def test_model_signing_accepts_our_bundles_and_we_accept_its(tmp_path: Path) -> None:
    """Unmodified, as its users run it."""
    assert MODEL_SIGNING.exists(), f"{MODEL_SIGNING} is missing: run `make .venvs/modelsigning/ready`"
    key, folder, signature = SigningKey.opened(tmp_path / "signing.key"), tmp_path / "model", tmp_path / "model.sig"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(DATA)
    (folder / "manifest").write_bytes(MANIFEST.encode())
    signature.write_bytes(key.sign("model.tflite", MANIFEST.artifact, MANIFEST.digest))

    def tool(verb: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(MODEL_SIGNING), "-m", "model_signing", verb, "key", str(folder), "--signature", str(signature)]
        return subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=tmp_path)

    public = ("--public_key", str(tmp_path / "signing.pub"))
    found = tool("verify", *public)
    assert found.returncode == 0, found.stdout + found.stderr
    (folder / "model.tflite").write_bytes(DATA + b"?")
    assert tool("verify", *public).returncode != 0
    (folder / "model.tflite").write_bytes(DATA)
    (folder / "manifest").unlink()  # as its users sign: the model alone
    made = tool("sign", "--private_key", str(tmp_path / "signing.key"))
    assert made.returncode == 0, made.stdout + made.stderr
    assert verdict(signature.read_bytes(), trust(key)) == "accepted"
    (folder / "model.tflite").write_bytes(DATA + b"?")
    assert tool("sign", "--private_key", str(tmp_path / "signing.key")).returncode == 0
    assert verdict(signature.read_bytes(), trust(key)).startswith("a trusted key signed something else")


@pytest.mark.real
def test_a_process_of_its_own_says_the_same(key: SigningKey, bundle: bytes, tmp_path: Path) -> None:
    other = SigningKey.opened(tmp_path / "other.key")
    of = (MANIFEST.artifact, MANIFEST.digest)
    check_apart(*of, bundle, trust(other, key), 0.0)
    check_apart(*of, None, trust(), 0.0)
    for signed, trusted in (
        (bundle, trust(other)),
        (bundle, trust(key, revoked_keys=frozenset({key.id}))),
        (b"garbage", trust(key)),
        (None, trust(key)),
        (key.sign("model.tflite", OTHER.artifact, OTHER.digest), trust(key)),
    ):
        with pytest.raises(SignatureRefused) as caught:
            check_apart(*of, signed, trusted, 0.0)
        assert verdict(signed, trusted) in str(caught.value)


@pytest.mark.parametrize("said", ["", "garbage", "[]", '{"verdict": "Right"}', '{"verdict": "right"}; exit 1'])
def test_only_a_process_that_ends_well_lets_a_model_pass(
    key: SigningKey, bundle: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    said, _, more = said.partition(";")
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{said}'\n{more}\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(stand_in))
    with pytest.raises((CheckBroken, SignatureRefused)):
        check_apart(MANIFEST.artifact, MANIFEST.digest, bundle, trust(key), 0.0)
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing"))
    with pytest.raises(CheckBroken, match="cannot be checked now"):
        check_apart(MANIFEST.artifact, MANIFEST.digest, bundle, trust(key), 0.0)
