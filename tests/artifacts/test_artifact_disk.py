import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.artifacts.disk import ArtifactFolder
from workers.artifacts.errors import ArtifactCorrupt, DigestInvalid

DATA = bytes(range(256)) * 40


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def store(folder: ArtifactFolder, data: bytes) -> Path:
    with folder.partial(digest_of(data), len(data)) as partial:
        partial.append(data)
        return partial.commit()


@given(st.lists(st.integers(1, len(DATA) - 1), max_size=6, unique=True))
def test_a_fetch_broken_anywhere_is_resumed_where_it_was(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    root = tmp_path_factory.mktemp("artifacts")
    digest, moved = digest_of(DATA), 0
    for end in [*sorted(cuts), len(DATA)]:
        with ArtifactFolder(root).partial(digest, len(DATA)) as partial:  # a new process each time
            assert partial.offset == moved
            partial.append(DATA[partial.offset : end])
            moved = end
    with ArtifactFolder(root).partial(digest, len(DATA)) as partial:
        assert partial.offset == len(DATA)
        assert partial.commit().read_bytes() == DATA
    assert ArtifactFolder(root).verified(digest) is not None


def test_bytes_that_are_not_the_artifacts_are_refused_and_forgotten(tmp_path: Path) -> None:
    folder, digest = ArtifactFolder(tmp_path), digest_of(DATA)
    with folder.partial(digest, len(DATA)) as partial:
        partial.append(b"x" + DATA[1:])
        with pytest.raises(ArtifactCorrupt, match="digest"):
            partial.commit()
    assert folder.verified(digest) is None
    with folder.partial(digest, len(DATA)) as partial:
        assert partial.offset == 0
        partial.append(DATA)
        partial.commit()
    assert folder.verified(digest) is not None


def test_a_short_artifact_is_refused_but_kept(tmp_path: Path) -> None:
    folder, digest = ArtifactFolder(tmp_path), digest_of(DATA)
    with folder.partial(digest, len(DATA)) as partial:
        partial.append(DATA[:100])
        with pytest.raises(ArtifactCorrupt, match="truncated at 100 of 10240 bytes"):
            partial.commit()
    with folder.partial(digest, len(DATA)) as partial:
        assert partial.offset == 100
    assert folder.verified(digest) is None


def test_more_bytes_than_the_artifact_has_never_reach_the_disk(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    with folder.partial(digest_of(DATA), 10) as partial:
        partial.append(DATA[:10])
        with pytest.raises(ArtifactCorrupt, match="more than its 10 bytes"):
            partial.append(b"1")
        assert partial.offset == 0


def test_a_left_partial_that_is_too_long_counts_as_nothing(tmp_path: Path) -> None:
    folder, digest = ArtifactFolder(tmp_path), digest_of(DATA)
    (tmp_path / "partial" / digest.removeprefix("sha256:")).write_bytes(DATA + b"tail")
    with folder.partial(digest, len(DATA)) as partial:
        assert partial.offset == 0


def test_a_file_that_rots_after_it_was_verified_is_deleted(tmp_path: Path) -> None:
    folder, digest = ArtifactFolder(tmp_path), digest_of(DATA)
    path = store(folder, DATA)
    assert folder.verified(digest) == path
    stamp = path.stat().st_mtime_ns
    path.write_bytes(DATA[:-1] + b"?")
    os.utime(path, ns=(stamp + 1, stamp + 1))
    assert folder.verified(digest) is None
    assert not path.exists()


def test_a_truncated_file_found_at_start_is_deleted(tmp_path: Path) -> None:
    path = store(ArtifactFolder(tmp_path), DATA)
    path.write_bytes(DATA[:-1])
    assert ArtifactFolder(tmp_path).verified(digest_of(DATA)) is None
    assert not path.exists()


def test_prune_keeps_only_what_is_named(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    store(folder, DATA)
    store(folder, b"other")
    with folder.partial(digest_of(b"third"), 5) as partial:
        partial.append(b"th")
    assert folder.prune([digest_of(DATA)]) == [digest_of(b"other")]
    assert folder.verified(digest_of(DATA)) is not None
    assert folder.verified(digest_of(b"other")) is None
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_digest_is_parsed_before_it_names_a_file(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    with pytest.raises(DigestInvalid):
        folder.verified("sha256:../../../etc/passwd")
    with pytest.raises(DigestInvalid):
        folder.partial("../x", 1)
