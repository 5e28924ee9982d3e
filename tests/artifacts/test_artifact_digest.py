import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.artifacts.digest import BLOCK_BYTES, digest_of_file, digest_of_stream, hex_of, parse_digest
from workers.artifacts.errors import DigestInvalid


@given(st.binary(max_size=4096))
def test_a_streams_digest_is_its_sha256(data: bytes) -> None:
    digest, size_bytes = digest_of_stream(io.BytesIO(data))
    assert digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert size_bytes == len(data)
    assert parse_digest(digest) == digest
    assert hex_of(digest) == hashlib.sha256(data).hexdigest()


def test_a_file_larger_than_one_block(tmp_path: Path) -> None:
    data = b"skerry" * (BLOCK_BYTES // 4)
    (tmp_path / "model").write_bytes(data)
    assert digest_of_file(tmp_path / "model") == ("sha256:" + hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "a" * 64,
        "md5:" + "a" * 64,
        *(f"sha256:{rest}" for rest in ("a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", "../../" + "a" * 58)),
        " sha256:" + "a" * 64,
    ],
)
def test_anything_else_is_no_digest(text: str) -> None:
    with pytest.raises(DigestInvalid, match="64 lower-case"):
        parse_digest(text)


@given(st.text(max_size=80))
def test_no_text_becomes_a_path(text: str) -> None:
    try:
        assert "/" not in hex_of(text)
        assert "." not in hex_of(text)
    except DigestInvalid:
        pass
