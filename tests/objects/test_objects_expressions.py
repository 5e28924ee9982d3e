"""CEL over the facts of a site."""

import threading

import pytest
from pydantic_core import PydanticCustomError

from orchestrator.errors import InvalidRequest
from orchestrator.model.specs import SiteSpec
from orchestrator.model.stored import Json
from orchestrator.objects import validate
from orchestrator.objects.expressions import FACTS, Expressions, checked, facts_of, holds, site_rules
from orchestrator.objects.translate import site_spec
from tests.objects.documents_by_kind import document, stored


def _site(name: str, labels: dict[str, Json] | None = None, **spec: Json) -> SiteSpec:
    form = document("Site", {"kind": "edge", "jurisdiction": "EU", **spec}, name=name, labels=labels or {})
    return site_spec(stored(form), (), True)


EDGE = _site("edge-a", {"gpu": "true", "acme.io/line": "a"}, price_usd_per_hour=0.5)
CLOUD = _site("eu-west", kind="region", quota={"memory_mib": 100, "cores": 1})


@pytest.mark.parametrize(
    ("expression", "edge", "cloud"),
    [
        ("site.region.startsWith('eu-')", False, True),
        ("site.kind == 'edge' || site.labels.gpu == 'true'", True, False),
        ("site.labels.gpu == 'true'", True, False),
        ("site.labels.gpu != 'true'", False, False),  # the region has no such label: not answered, so false
        ("!has(site.labels.gpu)", False, True),
        ("site.labels['acme.io/line'] == \"a\"", True, False),
        ("'gpu' in site.labels", True, False),
        ("site.price_usd_per_hour < 1", True, True),
        ("site.price_usd_per_hour >= 0.5", True, False),
        ("site.jurisdiction in ['EU', 'CH'] && site.hardware_class == 'any'", True, True),
        ("site.failure_domain == site.name", True, True),
        ("site.name.matches('^edge-[a-c]$')", True, False),
        ("site.name == 'site.nonsense'", False, False),
        ("size(site.labels) == 2", True, False),
    ],
)
def test_expressions_answer_of_a_site(expression: str, edge: bool, cloud: bool) -> None:
    assert checked(expression) == expression
    assert (holds(expression, facts_of(EDGE)), holds(expression, facts_of(CLOUD))) == (edge, cloud)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("site.knd == 'edge'", "unknown fact 'site.knd'"),
        ("true || site.nonsense == 1", "unknown fact 'site.nonsense'"),
        ("node.kind == 'edge'", "unknown fact 'node'"),
        ("site == 'x'", "unknown fact 'site'"),
        ("site['kind'] == 'edge'", "unknown fact 'site'"),
        ("true || nonsense(site.kind)", "unknown function 'nonsense'"),
        ("[1, 2].all(x, x > 0)", "all() is not allowed"),
        ("['a'].exists(site, site == 'a')", "exists() is not allowed"),
        ("site.kind > 3", "site.kind is text"),
        ("site.kind == 3", "compares unlike types"),
        ("site.price_usd_per_hour == '1'", "compares unlike types"),
        ("site.kind", "true or false"),
        ("1 + 1", "true or false"),
        ("site.kind ==", "this is not CEL"),
        ("(" * 400 + "true" + ")" * 400, "this is not CEL"),
    ],
)
def test_what_is_no_question_over_the_facts_is_refused(expression: str, said: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        checked(expression)
    assert said in caught.value.message()
    with pytest.raises(InvalidRequest) as refused:
        validate(document("PlacementPolicy", {"preferred": [{"weight": 1, "expression": expression}]}))
    assert refused.value.field == "spec.preferred.0.expression"
    assert said in refused.value.remedy


def test_an_unknown_fact_is_answered_with_all_there_are() -> None:
    assert set(facts_of(EDGE)) == set(FACTS)
    with pytest.raises(PydanticCustomError) as caught:
        checked("site.x")
    assert all(f"site.{fact}" in caught.value.message() for fact in FACTS)


def test_rules_name_the_first_failed_requirement_and_sum_the_preferences() -> None:
    expressions = Expressions(
        required=("site.kind == 'edge'", "site.name == 'x'"),
        preferred=((10.0, "site.kind == 'edge'"), (5.0, "site.labels.gpu == 'true'"), (1.0, "site.name == 'eu-west'")),
    )
    edge, cloud = site_rules(expressions, [CLOUD, EDGE])
    assert (edge.also_failed, cloud.also_failed) == ((), ("site.name == 'x'",))
    assert (edge.site, edge.failed_requirement, edge.preference) == ("edge-a", "site.name == 'x'", 15.0)
    assert (cloud.site, cloud.failed_requirement, cloud.preference) == ("eu-west", "site.kind == 'edge'", 1.0)


def test_a_compiled_expression_is_used_from_several_threads() -> None:
    """The API checks policies on threads of its own, and the snapshot is taken on another."""
    answers: list[bool] = []
    checked("site.kind == 'edge'")
    threads = [
        threading.Thread(target=lambda: answers.append(holds("site.kind == 'edge'", facts_of(EDGE)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 4
