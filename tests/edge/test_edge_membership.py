"""What joining told, on disk."""

import json
import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.edge import membership
from workers.edge.errors import StateFolderUnusable
from workers.edge.membership import NAMES, Membership

NAME = st.from_regex(r"[a-z0-9][-a-z0-9.]{0,20}", fullmatch=True)
ADDRESS = st.builds("{}:{}".format, NAME | st.just("[::1]"), st.integers(0, 65535))
ADDRESSES = st.lists(ADDRESS, min_size=1, max_size=5, unique=True).map(tuple)
MEMBERSHIPS = st.builds(
    Membership,
    node=NAME,
    site=NAME,
    fronts=ADDRESSES,
    enrolments=ADDRESSES,
    pins=st.lists(NAME).map(tuple),
    token=NAME,
    lan=ADDRESS | st.just(""),
    memory_mib=st.none() | st.integers(1, 1 << 40),
    cores=st.none() | st.floats(0.001, 1000),
)
JOINED = Membership("n1", "s1", ("f:1", "g:1"), ("f:2",), ("ab",), "t1", "10.0.0.1:9", 64, 1.5)


@given(MEMBERSHIPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_it_is_read_back_as_it_was_written(tmp_path: Path, joined: Membership) -> None:
    membership.save(tmp_path, joined)
    assert membership.load(tmp_path) == joined


def test_a_machine_that_has_not_joined_has_none(tmp_path: Path) -> None:
    assert membership.load(tmp_path) is None
    membership.save(tmp_path, JOINED)
    membership.forget(tmp_path)
    assert membership.load(tmp_path) is None


def test_every_flipped_byte_is_noticed_and_the_other_copy_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    membership.save(tmp_path, JOINED)
    path = tmp_path / NAMES[0]
    data = path.read_bytes()
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert membership.load(tmp_path) == JOINED
        assert "second copy" in caplog.text


@pytest.mark.parametrize("spoilt", [b"", b"{}", b"[]", b"\xff\xfe", b'{"format": 1}', b"null"])
def test_two_spoilt_copies_are_told_with_the_remedy(tmp_path: Path, spoilt: bytes) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(spoilt)
    with pytest.raises(StateFolderUnusable, match=r"node\.json: .*node\.copy\.json: .*join again with a new token"):
        membership.load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("format", 2, "upgrade skerry-edge"),
        ("node", "", "empty or malformed"),
        ("node", 7, "node is not text"),
        ("fronts", [], "empty or malformed"),
        ("fronts", ["nowhere"], "empty or malformed"),
        ("fronts", "f:1", "not a list of texts"),
        ("pins", [1], "not a list of texts"),
        ("memory_mib", -1, "not a whole number above 0"),
        ("cores", "two", "not a number above 0"),
    ],
)
def test_a_wrong_field_is_told_by_name(tmp_path: Path, field: str, value: object, said: str) -> None:
    written(tmp_path, **{field: value})
    with pytest.raises(StateFolderUnusable, match=said):
        membership.load(tmp_path)


def test_a_field_of_a_newer_release_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, colour="red")
    assert membership.load(tmp_path) == JOINED


def written(root: Path, **fields: object) -> None:
    """As another release would write it, with its digest."""
    membership.save(root, JOINED)
    content = {**json.loads((root / NAMES[0]).read_bytes()), **fields}
    del content["sha256"]
    for name in NAMES:
        (root / name).write_text(json.dumps({**content, "sha256": membership._digest(content)}))


def test_addresses_that_are_none_are_left_out_and_none_at_all_changes_nothing(tmp_path: Path) -> None:
    assert JOINED.told(("x:1", "nonsense", "x:1", "y:2")).fronts == ("x:1", "y:2")
    assert JOINED.told(("nonsense",)).fronts == JOINED.told(()).fronts == JOINED.fronts
    assert JOINED.told((), ("e:7",)).enrolments == ("e:7",)
    membership.save(tmp_path, JOINED)
    membership.change(tmp_path, lambda joined: joined.told(("z:9",)))
    assert membership.load(tmp_path) == JOINED.told(("z:9",))


@pytest.mark.parametrize("spoilt", NAMES)
def test_a_spoilt_copy_is_written_anew_as_the_other_is(tmp_path: Path, spoilt: str) -> None:
    membership.save(tmp_path, JOINED)
    whole = (tmp_path / spoilt).read_bytes()
    for data in (b"", whole[:-5], None):
        (tmp_path / spoilt).write_bytes(data) if data is not None else (tmp_path / spoilt).unlink()
        membership.heal(tmp_path)
        assert [(tmp_path / name).read_bytes() for name in NAMES] == [whole, whole]


def test_of_two_spoilt_copies_none_is_touched(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"{}")
    membership.heal(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in NAMES] == [b"{}", b"{}"]
