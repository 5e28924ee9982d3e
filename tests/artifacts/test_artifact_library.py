import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.artifacts.errors import ArtifactCorrupt, ArtifactUnknown, DigestInvalid, OffsetBeyondEnd
from workers.artifacts.library import ArtifactLibrary

DATA = bytes(range(256)) * 5000  # more than one block
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, and fsspec's memory store in place of a bucket: the same contract holds on both."""
    from fsspec.implementations.memory import MemoryFileSystem

    yield str(tmp_path / "artifacts") if request.param == "folder" else "memory://artifacts"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(DATA)
    return path


def test_what_was_added_is_read_back(url: str, model: Path) -> None:
    assert ArtifactLibrary(url).add(model) == (DIGEST, len(DATA))
    library = ArtifactLibrary(url)
    assert library.add(model) == (DIGEST, len(DATA))
    assert library.size(DIGEST) == len(DATA)
    with library.open(DIGEST) as artifact:
        assert artifact.size_bytes == len(DATA)
        assert artifact.read(0, len(DATA) + 1) == DATA
        assert artifact.read(100, 17) == DATA[100:117]
        assert artifact.read(len(DATA), 10) == b""


def test_nothing_but_the_artifact_lies_in_the_library(tmp_path: Path, model: Path) -> None:
    ArtifactLibrary(str(tmp_path / "artifacts")).add(model)
    files = [path.relative_to(tmp_path / "artifacts") for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert files == [Path("sha256") / DIGEST.removeprefix("sha256:")]


def test_a_half_written_artifact_is_written_anew(tmp_path: Path, model: Path) -> None:
    library = ArtifactLibrary(str(tmp_path / "artifacts"))
    library.add(model)
    stored = tmp_path / "artifacts" / "sha256" / DIGEST.removeprefix("sha256:")
    stored.write_bytes(DATA[:100])
    library.add(model)
    assert stored.read_bytes() == DATA


def test_unknown_and_wrong_digests_and_offsets(url: str, model: Path) -> None:
    library = ArtifactLibrary(url)
    unknown = "sha256:" + "0" * 64
    with pytest.raises(ArtifactUnknown, match="push or train"):
        library.size(unknown)
    with pytest.raises(ArtifactUnknown):
        library.open(unknown)
    with pytest.raises(DigestInvalid):
        library.size("sha256:../x")
    library.add(model)
    for offset in (-1, len(DATA) + 1):
        with library.open(DIGEST) as artifact, pytest.raises(OffsetBeyondEnd, match=str(len(DATA))):
            artifact.read(offset, 1)


def test_small_blobs_are_named_by_their_digest_and_notes_are_not(url: str) -> None:
    library = ArtifactLibrary(url)
    for _ in range(2):
        digest = library.add_bytes(b"paper")
    with library.open(digest) as artifact:
        assert artifact.read(0, 100) == b"paper"
    assert library.noted("described/plant-7/a", 100) == b""
    for said in (b"first", b"second"):
        library.note("described/plant-7/a", said)
        assert ArtifactLibrary(url).noted("described/plant-7/a", 100) == said
    assert library.noted("described/plant-7/a", 3) == b"sec"


def test_a_local_path_holds_the_right_bytes(url: str, model: Path, tmp_path: Path) -> None:
    library = ArtifactLibrary(url)
    library.add(model)
    for _ in range(2):
        assert library.local_path(DIGEST, tmp_path / "cache").read_bytes() == DATA
    with pytest.raises(ArtifactUnknown):
        library.local_path("sha256:" + "0" * 64, tmp_path / "cache")


def test_a_rotten_artifact_has_no_local_path(tmp_path: Path, model: Path) -> None:
    library = ArtifactLibrary(str(tmp_path / "artifacts"))
    library.add(model)
    (tmp_path / "artifacts" / "sha256" / DIGEST.removeprefix("sha256:")).write_bytes(b"?" * len(DATA))
    with pytest.raises(ArtifactCorrupt):
        library.local_path(DIGEST, tmp_path / "cache")


def test_a_rotten_copy_is_fetched_again(model: Path, tmp_path: Path) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    library = ArtifactLibrary("memory://artifacts")
    library.add(model)
    library.local_path(DIGEST, tmp_path / "cache").write_bytes(b"?" * len(DATA))
    assert library.local_path(DIGEST, tmp_path / "cache").read_bytes() == DATA
    MemoryFileSystem.store.clear()


def test_the_room_does_not_load_fsspec_for_a_node() -> None:
    script = "import sys, workers.artifacts.disk, workers.artifacts.library; sys.exit('fsspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
