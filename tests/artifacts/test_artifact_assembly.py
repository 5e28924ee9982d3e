"""Artifacts put together from chunks: what is right stays, what is held is not asked for, nothing wrong is used."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import bytes_of, cut_small, hold, take

from workers.artifacts.disk import ArtifactFolder
from workers.artifacts.errors import ArtifactCorrupt
from workers.artifacts.manifest import manifest_of

DATA = bytes_of(1, 20_500)
MANIFEST = cut_small(DATA)
NEXT = DATA[:5_000] + bytes_of(2, 2_000) + DATA[7_000:]  # two chunks of 21 are others


def partial_of(root: Path, manifest: object = MANIFEST) -> Path:
    return root / "partial" / MANIFEST.artifact.removeprefix("sha256:")


@given(st.lists(st.integers(0, len(DATA)), max_size=8), st.integers(1, 9_000))
def test_killed_anywhere_it_goes_on_at_that_byte(
    tmp_path_factory: pytest.TempPathFactory, kills: list[int], most_bytes: int
) -> None:
    root, asked = tmp_path_factory.mktemp("artifacts"), 0
    for at_most in kills:
        with ArtifactFolder(root).assembly(MANIFEST) as assembly:  # a new process each time
            assert assembly.there_bytes == asked
            asked += take(assembly, DATA, most_bytes, at_most)
    with ArtifactFolder(root).assembly(MANIFEST) as assembly:
        asked += take(assembly, DATA, most_bytes)
        assert assembly.commit().read_bytes() == DATA
    assert asked == len(DATA)
    assert ArtifactFolder(root).verified(MANIFEST.artifact)


@given(st.data())
def test_whatever_lies_on_disk_what_is_right_of_it_stays_and_the_rest_is_asked_for(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("artifacts")
    folder = ArtifactFolder(root)
    left = bytearray(DATA[: data.draw(st.integers(0, len(DATA)), label="kept")])
    left += data.draw(st.binary(max_size=3_000), label="garbage")
    flips = data.draw(st.lists(st.integers(0, max(0, len(left) - 1)), max_size=4), label="flips") if left else []
    for at in flips:
        left[at] ^= 0x55
    partial_of(root).write_bytes(left)
    right = sum(c.size_bytes for c in MANIFEST.chunks if left[c.offset : c.end] == DATA[c.offset : c.end])
    with folder.assembly(MANIFEST) as assembly:
        asked = 0
        for _ in range(3):  # the beginning of a chunk may prove wrong once it is whole
            try:
                asked += take(assembly, DATA)
                break
            except ArtifactCorrupt:
                asked += 1_000
        assert assembly.commit().read_bytes() == DATA
    assert asked <= len(DATA) - right + 1_000


def test_chunks_of_another_version_are_copied_and_only_the_rest_is_asked_for(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    hold(folder, DATA)
    with folder.assembly(cut_small(NEXT)) as assembly:
        assert assembly.wanted(1 << 20) == [(5_000, 2_000)]
        assert take(assembly, NEXT) == 2_000
        assert assembly.commit().read_bytes() == NEXT


def test_nothing_is_copied_out_of_another_namespace(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    hold(folder, DATA, "plant-7")
    with folder.assembly(cut_small(NEXT, "plant-8")) as assembly:
        assert take(assembly, NEXT) == len(NEXT)


def test_a_spoilt_copy_is_asked_for_instead(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    held = hold(folder, DATA)
    rotten = bytearray(DATA)
    rotten[9_500] ^= 1
    held.write_bytes(rotten)
    with folder.assembly(cut_small(NEXT)) as assembly:
        asked = take(assembly, NEXT)
        asked += take(assembly, NEXT)
        assert asked == 3_000
        assert assembly.commit().read_bytes() == NEXT


def test_an_evicted_copy_is_asked_for_instead(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    held = hold(folder, DATA)
    with folder.assembly(cut_small(NEXT)) as assembly:
        held.unlink()
        assert take(assembly, NEXT) == len(NEXT)
        assert assembly.commit().read_bytes() == NEXT


def test_a_copy_that_was_cut_off_by_a_kill_is_copied_again(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    hold(folder, DATA)
    manifest = cut_small(NEXT)
    (tmp_path / "partial" / manifest.artifact.removeprefix("sha256:")).write_bytes(NEXT[:3_100])
    with folder.assembly(manifest) as assembly:
        assert take(assembly, NEXT) == 2_000
        assert assembly.commit().read_bytes() == NEXT


@pytest.mark.parametrize("at", [0, 4_321, len(DATA) - 1])
def test_a_flipped_byte_is_refused_with_its_chunk_and_costs_that_chunk(tmp_path: Path, at: int) -> None:
    wrong = bytearray(DATA)
    wrong[at] ^= 1
    with ArtifactFolder(tmp_path).assembly(MANIFEST) as assembly:
        with pytest.raises(ArtifactCorrupt, match=f"the chunk at {at // 1000 * 1000} that came has another digest"):
            take(assembly, bytes(wrong))
        assert assembly.there_bytes == at // 1000 * 1000
    with ArtifactFolder(tmp_path).assembly(MANIFEST) as assembly:
        assert take(assembly, DATA) == len(DATA) - at // 1000 * 1000
        assert assembly.commit().read_bytes() == DATA


def test_bytes_that_nobody_asked_for_are_not_taken(tmp_path: Path) -> None:
    with ArtifactFolder(tmp_path).assembly(MANIFEST) as assembly:
        assert not assembly.put(1, DATA[1:])
        assert assembly.put(0, DATA)
        assert not assembly.put(len(DATA), b"more")
        assert assembly.commit().read_bytes() == DATA


def test_a_short_one_is_refused_and_kept(tmp_path: Path) -> None:
    with ArtifactFolder(tmp_path).assembly(MANIFEST) as assembly:
        take(assembly, DATA, at_most=3_333)
        with pytest.raises(ArtifactCorrupt, match="truncated at 3333 of 20500 bytes"):
            assembly.commit()
        assert assembly.there_bytes == 3_333


def test_right_chunks_of_a_manifest_that_lies_about_the_whole_get_no_name(tmp_path: Path) -> None:
    pieces = [(c.size_bytes, c.sha256) for c in cut_small(NEXT).chunks]
    lying = manifest_of(MANIFEST.artifact, len(NEXT), "tflite", "default", pieces)
    folder = ArtifactFolder(tmp_path)
    with folder.assembly(lying) as assembly:
        take(assembly, NEXT)
        with pytest.raises(ArtifactCorrupt, match="together have digest"):
            assembly.commit()
    assert folder.verified(MANIFEST.artifact) is None
    assert not partial_of(tmp_path).exists()


def test_an_artifact_of_no_bytes(tmp_path: Path) -> None:
    with ArtifactFolder(tmp_path).assembly(cut_small(b"")) as assembly:
        assert assembly.wanted(1) == []
        assert assembly.commit().read_bytes() == b""


@pytest.mark.parametrize("name", ["x", ".x.new", "a" * 64, f"{'a' * 64}.{'b' * 64}"])
def test_what_else_lies_among_the_papers_is_no_manifest(tmp_path: Path, name: str) -> None:
    folder = ArtifactFolder(tmp_path)
    hold(folder, DATA)
    (tmp_path / "papers" / name).write_bytes(MANIFEST.encode())
    assert [manifest.artifact for manifest in folder.papers.manifests("default")] == [MANIFEST.artifact]


@given(st.integers(0), st.integers(1, 255))
def test_a_flipped_paper_is_fetched_again(tmp_path_factory: pytest.TempPathFactory, at: int, flip: int) -> None:
    folder = ArtifactFolder(tmp_path_factory.mktemp("artifacts"))
    folder.papers.keep(MANIFEST.artifact, MANIFEST.encode())
    (path,) = folder.papers._root.iterdir()
    spoilt = bytearray(path.read_bytes())
    spoilt[at % len(spoilt)] ^= flip
    path.write_bytes(spoilt)
    assert folder.papers.find(MANIFEST.artifact, MANIFEST.digest) is None
    assert not path.exists()


def test_the_papers_of_an_artifact_go_with_it(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    hold(folder, DATA)
    hold(folder, NEXT)
    folder.prune([MANIFEST.artifact])
    assert [manifest.artifact for manifest in folder.papers.manifests("default")] == [MANIFEST.artifact]
