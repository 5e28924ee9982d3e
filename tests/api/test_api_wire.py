"""Codes and translation of control/v1, without a server."""

import contextlib
import json

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.api.codes import MAX_MESSAGE_BYTES, STATUS, code_of, shortened
from orchestrator.api.wire import document_from, documents_from, kind_of, owner_of, scope_of
from orchestrator.errors import InvalidRequest


def all_errors() -> list[type[errors.OrchestratorError]]:
    found = [errors.OrchestratorError]
    for kind in found:
        found += kind.__subclasses__()
    return found


WANTED = {
    errors.OrchestratorError: grpc.StatusCode.INTERNAL,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.NodeUnknown: grpc.StatusCode.NOT_FOUND,
    errors.Unproven: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.AlreadyEnrolled: grpc.StatusCode.ALREADY_EXISTS,
    errors.Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RevisionStale: grpc.StatusCode.ABORTED,
    errors.EpochStale: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OwnerConflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ClaimRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Compacted: grpc.StatusCode.OUT_OF_RANGE,
    errors.Damaged: grpc.StatusCode.DATA_LOSS,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.CloudUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.EdgeUnreachable: grpc.StatusCode.UNAVAILABLE,
}


def test_every_error_of_the_tree_has_its_code() -> None:
    for kind in all_errors():
        if not kind.__module__.startswith("orchestrator.errors"):
            continue
        made = kind("f", 1, "r") if kind is errors.InvalidRequest else kind("why")
        assert code_of(made) is WANTED[kind], kind


def test_a_new_error_takes_the_code_of_its_nearest_ancestor() -> None:
    class Novel(errors.RevisionStale):
        pass

    assert code_of(Novel("x")) is STATUS[errors.RevisionStale]


def test_a_message_fits_into_headers_whatever_it_holds() -> None:
    assert shortened("short") == "short"
    assert len(shortened("\N{SNOWMAN}" * 5_000).encode()) <= MAX_MESSAGE_BYTES + 3
    shortened("\ud800 lone")  # would not encode


@given(st.lists(st.text(st.characters(exclude_characters="\n"), min_size=1, max_size=90), min_size=1, max_size=60))
def test_of_several_lines_whole_ones_arrive_with_the_number_of_the_rest(lines: list[str]) -> None:
    text = "\n".join(one.encode("utf-8", "replace").decode() for one in lines)
    found = shortened(text).split("\n")
    assert len("\n".join(found).encode()) <= MAX_MESSAGE_BYTES + len("\nand 60 more")
    if shortened(text) != text:
        *whole, rest = found
        assert whole == text.split("\n")[: len(whole)]
        assert rest == f"and {len(lines) - len(whole)} more"


DEEP = "[" * 100_000
HOSTILE = {
    "no JSON": "{",
    "no object": "[1, 2]",
    "deep": DEEP,
    "deep object": '{"a":' * 50_000,
    "not a number": '{"spec": NaN}',
    "infinite": '{"spec": -Infinity}',
    "endless integer": '{"spec": ' + "9" * 10_000 + "}",
    "given twice": '{"kind": "Zone", "kind": "Site"}',
    "lone surrogate": '{"kind": "\\ud800"}',
    "nul": '{"kind": "a\\u0000b"}',
    "nul after backslashes": '{"kind": "a\\\\\\u0000b"}',
    "empty": "",
    "huge": json.dumps({"kind": "x" * (1 << 20)}),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_document_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        document_from("documents_json[3]", text)
    assert str(caught.value).startswith("documents_json[3]: ")
    assert len(str(caught.value)) < 1_000


def test_escaped_backslashes_before_u0000_are_text() -> None:
    assert document_from("d", '{"a": "\\\\u0000"}') == {"a": "\\u0000"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_what_is_accepted_can_be_stored_and_sent(document: dict[str, object]) -> None:
    text = json.dumps(document)
    try:
        found = document_from("d", text)
    except InvalidRequest:
        assert "\\u0000" in text or "\\ud" in text
        return
    assert found == document
    assert "\0" not in "".join(_texts(found))


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequest):  # any other error is a bug
        assert isinstance(document_from("d", text), dict)


def test_every_hostile_document_of_a_call_is_told() -> None:
    with pytest.raises(InvalidRequest) as caught:
        documents_from(["[]", "{}", "{"])
    assert [one.field for one in caught.value.problems] == ["documents_json[0]", "documents_json[2]"]


def test_documents_kinds_owners_and_scopes_are_bounded() -> None:
    for refused in (
        lambda: documents_from([]),
        lambda: documents_from(["{}"] * 2_001),
        lambda: kind_of("zone"),
        lambda: owner_of("control"),
        lambda: scope_of("Teapot", ""),
        lambda: scope_of("Zone", "\n"),
    ):
        with pytest.raises(InvalidRequest):
            refused()
    assert scope_of("", "") == ("", None)
    assert scope_of("ModelService", "n") == ("ModelService", "n")
