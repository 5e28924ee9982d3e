"""docs/policies.md and docs/explain.md say what there is: their documents are accepted, their tables complete."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import InvalidRequest
from orchestrator.model.snapshot import Refusal
from orchestrator.model.stored import Json
from orchestrator.objects import parse_documents, validate
from orchestrator.objects.expressions import FACTS
from orchestrator.objects.policy_form import PlacementPolicyFields
from tests.objects.documents_by_kind import leaves

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "policies.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
EXPLAINED = (DOCS / "explain.md").read_text()


def rows(head: str) -> list[list[str]]:
    """The cells of the table that starts with this line."""
    lines = TEXT.split(f"{head}\n", 1)[1].splitlines()[1:]
    table = lines[: next(index for index, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (_escaped(line) for line in table)]


def _escaped(line: str) -> str:
    return line.replace("\\|", "/")


def test_every_field_is_explained_with_its_default() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in rows("| field | default | what it does |")}
    fields = dict(leaves(PlacementPolicyFields))
    assert list(told) == list(fields)
    for path, default in fields.items():
        if isinstance(default, bool):
            assert told[path] == str(default).lower()
        elif isinstance(default, int | float):
            assert float(told[path]) == default


def test_the_facts_are_those_that_expressions_see() -> None:
    told = {row[0].strip("`"): row[1] for row in rows("| fact | what it is |")}
    assert told == {f"site.{fact}": says for fact, says in FACTS.items()}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("kind: ")[1].split("\n")[0])
def test_what_it_shows_is_accepted(block: str) -> None:
    assert [validate(one) for one in parse_documents(block, "policies.md")]


def test_the_walk_of_explain_is_accepted() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", EXPLAINED, re.DOTALL)
    assert [validate(one) for one in parse_documents(block, "explain.md")]


def test_explain_names_every_refusal_that_a_change_may_lift() -> None:
    told = {reason for reason in Refusal if f"`{reason}`" in EXPLAINED}
    lifted_by_none = {"unreachable", "no-path", "anti-affinity", "no-variant", "frozen", "outranked", "too-many-sites"}
    assert told == set(Refusal) - lifted_by_none


def test_what_it_calls_a_contradiction_is_refused_as_it_says() -> None:
    line = next(block for block in BLOCKS if "inspection-line" in block)
    contradicted = re.sub(r"pins: .*", r"\g<0>\n    bans: [edge-b]", line)
    with pytest.raises(InvalidRequest) as caught:
        validate(parse_documents(contradicted, "line.yaml")[0])
    assert str(caught.value) in TEXT


def test_the_example_gives_every_field() -> None:
    (policy, _) = parse_documents((DOCS / "examples/policy-fields.yaml").read_text(), "policy-fields.yaml")
    assert set(_given(policy["spec"])) == {path for path, _ in leaves(PlacementPolicyFields)}


def _given(value: Json, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _given(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _given(value[0], path)
    else:
        yield path
