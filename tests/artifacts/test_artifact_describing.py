"""What the library says of an artifact: made once for a namespace and a key, and anew where it was lost or spoilt."""

import json
from pathlib import Path

import pytest
from made import bytes_of

from workers.artifacts.describing import Describer
from workers.artifacts.digest import digest_of_bytes
from workers.artifacts.errors import ArtifactCorrupt, ArtifactUnknown
from workers.artifacts.library import ArtifactLibrary
from workers.artifacts.manifest import parse_manifest
from workers.artifacts.signing import SigningKey
from workers.artifacts.trust import Trust, check

DATA = bytes_of(3, 300_000)
DIGEST = digest_of_bytes(DATA)


@pytest.fixture
def describer(tmp_path: Path) -> Describer:
    library = ArtifactLibrary(str(tmp_path / "artifacts"))
    (tmp_path / "model").write_bytes(DATA)
    library.add(tmp_path / "model")
    return Describer(library, SigningKey.opened(tmp_path / "pki" / "signing.key"))


def read(describer: Describer, digest: str) -> bytes:
    with describer.library.open(digest) as paper:
        return paper.read(0, 1 << 20)


def test_an_artifact_is_described_by_a_signed_manifest(describer: Describer) -> None:
    found = describer.describe(DIGEST, len(DATA), "tflite", "plant-7")
    manifest = parse_manifest(read(describer, found.manifest))
    assert (manifest.artifact, manifest.namespace, manifest.format) == (DIGEST, "plant-7", "tflite")
    trusted = Trust(keys=(describer.key.public_der,), valid_s=1)
    check(DIGEST, found.manifest, read(describer, found.signature), trusted, 0.0)


def test_it_is_described_once_for_each_namespace(describer: Describer) -> None:
    first = describer.describe(DIGEST, len(DATA), "tflite", "plant-7")
    again = Describer(describer.library, describer.key)
    assert again.describe(DIGEST, len(DATA), "tflite", "plant-7") == first
    assert again.describe(DIGEST, len(DATA), "tflite", "plant-8").manifest != first.manifest


def test_another_key_signs_the_same_manifest_again(describer: Describer, tmp_path: Path) -> None:
    first = describer.describe(DIGEST, len(DATA), "tflite", "plant-7")
    other = Describer(describer.library, SigningKey.opened(tmp_path / "other.key"))
    found = other.describe(DIGEST, len(DATA), "tflite", "plant-7")
    assert found.manifest == first.manifest
    assert found.signature != first.signature


@pytest.mark.parametrize("spoilt", ["manifest", "signature", "note"])
@pytest.mark.parametrize("how", ["gone", "flipped", "empty"])
def test_what_was_lost_or_spoilt_is_made_anew(describer: Describer, tmp_path: Path, spoilt: str, how: str) -> None:
    first = describer.describe(DIGEST, len(DATA), "tflite", "plant-7")
    note = tmp_path / "artifacts" / "described" / "plant-7" / DIGEST.removeprefix("sha256:")
    names = {name: json.loads(note.read_bytes())[name].removeprefix("sha256:") for name in ("manifest", "signature")}
    path = note if spoilt == "note" else tmp_path / "artifacts" / "sha256" / names[spoilt]
    match how:
        case "gone":
            path.unlink()
        case "flipped":
            path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
        case _:
            path.write_bytes(b"")
    found = describer.describe(DIGEST, len(DATA), "tflite", "plant-7")
    assert found.manifest == first.manifest
    assert parse_manifest(read(describer, found.manifest)).artifact == DIGEST
    trusted = Trust(keys=(describer.key.public_der,), valid_s=1)
    check(DIGEST, found.manifest, read(describer, found.signature), trusted, 0.0)


def test_a_spoilt_artifact_is_not_signed(describer: Describer, tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "sha256" / DIGEST.removeprefix("sha256:")).write_bytes(DATA[:-1] + b"?")
    with pytest.raises(ArtifactCorrupt, match="the library's file has digest"):
        describer.describe(DIGEST, len(DATA), "tflite", "plant-7")
    with pytest.raises(ArtifactUnknown):
        describer.describe("sha256:" + "0" * 64, 1, "tflite", "plant-7")
