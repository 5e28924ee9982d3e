"""YAML text to documents: what is read, and how what is wrong is said."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidRequest
from orchestrator.objects.documents import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse_documents, written_documents


def test_documents_are_read_in_order_and_empty_ones_left_out() -> None:
    text = "a: 1\nb: [x, 2.5, null, true]\n---\n---\n# nothing\n---\n{c: {d: 2024-01-01}}\n"
    assert parse_documents(text, "f.yaml") == [{"a": 1, "b": ["x", 2.5, None, True]}, {"c": {"d": "2024-01-01"}}]
    assert parse_documents("", "f.yaml") == []


def test_an_anchor_stands_for_its_value() -> None:
    assert parse_documents("a: &x {b: 1}\nc: *x\n", "f") == [{"a": {"b": 1}, "c": {"b": 1}}]


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        ("a: [1", "f.yaml:", "correct the YAML"),
        ("ok: 1\na: b: c", "f.yaml:2", "correct the YAML"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "f.yaml:4: b.c", "once"),
        ("a: 1\nb: !!python/object:os.system x", "f.yaml:2: b", "plain YAML"),
        ("a: !!set {x}", "f.yaml:1: a", "plain YAML"),
        ("- 1", "f.yaml:1", "apiVersion"),
        ("a: 1\nb: *later", "f.yaml:2: b", "define the anchor"),
        ("a: &a [*a]", "f.yaml:1: a.0", "define the anchor"),
        ("on: 1", "f.yaml:1: on", "quote the key"),
        ("? [1]\n: 2", "f.yaml:1", "plain word"),
        ("x: &x {a: 1}\n<<: *x", "f.yaml:2: <<", "merge keys"),
        ("a: .inf", "f.yaml:1: a", "finite"),
        ("a: !!int foo", "f.yaml:1: a", "type int"),
        ("a: \x00", "f.yaml", "UTF-8"),
        ("a: \ud800", "f.yaml", "UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_field(text: str, field: str, remedy: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_documents(text, "f.yaml")
    assert caught.value.field.startswith(field)
    assert remedy in caught.value.remedy


def test_size_depth_and_aliases_are_bounded() -> None:
    with pytest.raises(InvalidRequest, match=f"at most {MAX_BYTES} bytes"):
        parse_documents("#" * (MAX_BYTES + 1), "f")
    deep = MAX_DEPTH - 1
    assert parse_documents("a: " + "[" * deep + "]" * deep, "f")
    with pytest.raises(InvalidRequest, match=f"at most {MAX_DEPTH} levels"):
        parse_documents("a: " + "[" * 200_000, "f")
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for this, before in zip("bcdefgh", "abcdefg", strict=True):
        bomb += f"{this}: &{this} [" + ", ".join([f"*{before}"] * 10) + "]\n"
    with pytest.raises(InvalidRequest, match=f"more than {MAX_VALUES} values"):
        parse_documents(bomb, "f")
    ladder = "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40
    with pytest.raises(InvalidRequest, match=f"at most {MAX_DEPTH} levels"):
        parse_documents(ladder, "f")


def test_the_line_of_a_field_that_a_later_check_refuses() -> None:
    text = "a: 1\n---\nspec:\n  demand:\n    - zone: x\n      rate: 1\n    - {zone: y}\n"
    first, second = written_documents(text, "f")
    assert (first.document, first.line_of("a")) == ({"a": 1}, 1)
    assert second.line_of("spec.demand.0.rate") == 6
    assert second.line_of("spec.demand.1.zone") == 7
    assert second.line_of("spec.demand.1.missing.deeper") == 7
    assert second.line_of("status") == 3


# Beyond that code point JSON escapes pairs, which YAML has not; longer keys YAML takes for no keys.
_text = st.text(st.characters(max_codepoint=0xD7FF), max_size=30)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_text, _json, max_size=3))
@example({"<<": {"a": 1e16}, "b": [1e-9, -2.5e300]})
def test_json_is_read_as_it_is(document: dict[str, object]) -> None:
    assert parse_documents(json.dumps(document), "f") == [document]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:- \n[]{}&*!|>'\"#%,?0.1~<\t"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        documents = parse_documents(text, "f")
    except InvalidRequest as err:
        assert err.field.startswith("f")  # noqa: PT017
    else:
        assert all(isinstance(document, dict) for document in documents)
