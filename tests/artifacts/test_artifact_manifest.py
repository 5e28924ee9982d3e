"""Manifests: one form, bounded, and nothing else is taken for one."""

import hashlib
import io
import json
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.artifacts.chunking import AVERAGE_BYTES, SPREAD, average_bytes, cut
from workers.artifacts.digest import digest_of_bytes
from workers.artifacts.errors import ManifestInvalid
from workers.artifacts.manifest import CHUNK_MOST_BYTES, CHUNKS_MOST, Manifest, manifest_of, parse_manifest

PIECES = st.lists(st.tuples(st.integers(1, CHUNK_MOST_BYTES), st.binary(min_size=32, max_size=32)), max_size=20)
NAMESPACES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True)


def made(pieces: list[tuple[int, bytes]], namespace: str = "plant-7") -> Manifest:
    return manifest_of(digest_of_bytes(b"x"), sum(size for size, _ in pieces), "tflite", namespace, pieces)


ONE = made([(3, b"a" * 32), (5, b"b" * 32)])


@given(PIECES, NAMESPACES)
def test_a_manifest_is_read_back_as_it_was_written(pieces: list[tuple[int, bytes]], namespace: str) -> None:
    manifest = made(pieces, namespace)
    assert parse_manifest(manifest.encode()) == manifest
    assert manifest.digest == digest_of_bytes(manifest.encode())
    assert [chunk.offset for chunk in manifest.chunks] == [sum(s for s, _ in pieces[:i]) for i in range(len(pieces))]


@given(st.data())
def test_a_flipped_cut_or_longer_manifest_is_refused_or_another_one(data: st.DataObject) -> None:
    encoded = bytearray(ONE.encode())
    match data.draw(st.sampled_from(["flip", "cut", "add"])):
        case "flip":
            encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
        case "cut":
            del encoded[data.draw(st.integers(0, len(encoded) - 1)) :]
        case _:
            encoded += data.draw(st.binary(min_size=1, max_size=80))
    try:
        found = parse_manifest(bytes(encoded))
    except ManifestInvalid:
        return
    assert found != ONE  # of other chunks, say: its name is another one
    assert found.encode() == bytes(encoded)


@given(st.binary(max_size=400))
def test_garbage_is_no_manifest(data: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        parse_manifest(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_a_head_with_any_other_value_is_refused(data: st.DataObject) -> None:
    head, _, records = ONE.encode().partition(b"\n")
    fields = json.loads(head)
    name = data.draw(st.sampled_from([*fields, "more"]))
    value = data.draw(JSON.filter(lambda drawn: name not in fields or drawn != fields[name]))
    changed = json.dumps({**fields, name: value}, separators=(",", ":")).encode()
    try:
        found = parse_manifest(changed + b"\n" + records)
    except ManifestInvalid:
        return
    assert name == "namespace"
    assert found.namespace == value


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"[" * 1000, "no head|cannot be read"),
        (b'{"chunks":' + b"9" * 900 + b"}", "cannot be read"),
        (b'{"a":1,"a":2}', "cannot be read"),
        (b" " + ONE.encode().partition(b"\n")[0], "one form"),
        (ONE.encode().partition(b"\n")[0].replace(b'"chunks":2', b'"chunks":2.0'), "cannot be read"),
        (ONE.encode().partition(b"\n")[0].replace(b'"chunks":2', b'"chunks":true'), "cannot be read"),
        (ONE.encode().partition(b"\n")[0].replace(b'"chunks":2', b'"chunks":%d' % (CHUNKS_MOST + 1)), "at most"),
        (ONE.encode().partition(b"\n")[0].replace(b'"chunks":2', b'"chunks":-1'), "at most"),
        (ONE.encode().partition(b"\n")[0].replace(b'"size_bytes":8', b'"size_bytes":9'), "add up to 8"),
        (ONE.encode().partition(b"\n")[0].replace(b"tflite", b"pickle"), "format: 'pickle': one of"),
        (ONE.encode().partition(b"\n")[0].replace(b"plant-7", b"../etc"), "namespace: '../etc'"),
        (ONE.encode().partition(b"\n")[0].replace(b"sha256:", b"sha257:"), "64 lower-case"),
    ],
)
def test_hostile_heads_are_refused_with_their_reason(head: bytes, said: str) -> None:
    with pytest.raises(ManifestInvalid, match=said):
        parse_manifest(head + b"\n" + ONE.encode().partition(b"\n")[2])


@pytest.mark.parametrize("size_bytes", [0, CHUNK_MOST_BYTES + 1, 2**32 - 1])
def test_a_chunk_has_bounds(size_bytes: int) -> None:
    with pytest.raises(ManifestInvalid, match="one is not of 1 to"):
        made([(size_bytes, b"a" * 32)])


def test_chunks_are_those_of_the_bytes() -> None:
    data = random.Random(7).randbytes(1_000_000)
    manifest = cut(io.BytesIO(data), len(data), "tflite", "default")
    assert manifest.artifact == digest_of_bytes(data)
    assert manifest.size_bytes == len(data)
    assert len(manifest.chunks) > 5
    for chunk in manifest.chunks:
        assert hashlib.sha256(data[chunk.offset : chunk.end]).digest() == chunk.sha256
        assert chunk.size_bytes <= AVERAGE_BYTES * SPREAD
    assert manifest.chunks[-1].end == len(data)
    assert parse_manifest(manifest.encode()) == manifest


def test_what_was_changed_or_inserted_leaves_the_other_chunks_as_they_were() -> None:
    data = random.Random(8).randbytes(4_000_000)
    changed = data[:1_000_000] + random.Random(9).randbytes(200_000) + data[1_200_000:]
    inserted = data[:2_000_000] + b"a new operator" + data[2_000_000:]
    held = {chunk.sha256 for chunk in cut(io.BytesIO(data), len(data), "tflite", "default").chunks}
    for version, most_bytes in ((changed, 200_000 + 4 * 4 * AVERAGE_BYTES), (inserted, 4 * 4 * AVERAGE_BYTES)):
        manifest = cut(io.BytesIO(version), len(version), "tflite", "default")
        assert sum(c.size_bytes for c in manifest.chunks if c.sha256 not in held) <= most_bytes


def test_no_bytes_have_no_chunks() -> None:
    assert cut(io.BytesIO(b""), 0, "tflite", "default").chunks == ()


@pytest.mark.parametrize("size_bytes", [0, 100 << 20, 4 << 30, (4 << 30) + 1, 64 << 30])
def test_a_manifest_holds_the_chunks_of_any_model(size_bytes: int) -> None:
    average = average_bytes(size_bytes)
    assert size_bytes <= CHUNKS_MOST * average // SPREAD
    assert average * SPREAD <= CHUNK_MOST_BYTES
    assert (average == AVERAGE_BYTES) == (size_bytes <= 4 << 30)


def test_a_node_does_not_load_the_chunker() -> None:
    script = "import sys, workers.edge.process; sys.exit('pyfastcdc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
