"""CEL over published facts of a site: checked when a policy is applied, evaluated when a snapshot is taken.

Why CEL, and why this library: docs/decisions/0004-cel.md.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, NamedTuple, Protocol, TypeAlias

from pydantic import AfterValidator, Field

from orchestrator.model.ids import SiteName
from orchestrator.model.specs import SiteKind, SiteRule, SiteSpec
from orchestrator.objects.fields import refuse

FACTS: Mapping[str, str] = {
    "name": "text: metadata.name",
    "kind": "text: 'edge' or 'region'",
    "region": "text: the name of a region, '' for an edge site",
    "jurisdiction": "text",
    "failure_domain": "text",
    "hardware_class": "text",
    "price_usd_per_hour": "number: of one full core",
    "labels": "map of text: metadata.labels; a test of a label that a site lacks is false, so guard it by has()",
}
MAX_LENGTH = 1024
FUNCTIONS = ("startsWith", "endsWith", "contains", "matches", "size", "double", "int", "string")
_OPERATORS = ("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "!_", "_?_:_", "@in", "_[_]")
_ARITHMETIC = ("_+_", "_-_", "_*_", "_/_", "_%_", "-_")
_TEXT = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_ROOT = re.compile(r"(?<![\w.])site\b(?:\s*\.\s*(\w+))?")
_LABEL = re.compile(r"\bsite\s*\.\s*labels\s*(?:\.\s*(\w+)|\[\s*(?:'([^'\\]*)'|\"([^\"\\]*)\")\s*\])")
# Equality of unlike types is legal CEL and always false, which nobody means.
_NUMBER_COMPARED = re.compile(r"\bsite\s*\.\s*price_usd_per_hour\s*(?:==|!=)\s*(?:''|true\b|false\b)")
_TEXT_COMPARED = re.compile(r"\bsite\s*\.\s*(?!price_usd_per_hour|labels)\w+\s*(?:==|!=)\s*(?:-?[\d.]|true\b|false\b)")
# Macros loop over lists; nested ones can run for hours within the allowed length, and no fact is a list.
_MACRO = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")

Fact: TypeAlias = "str | float | dict[str, str]"


class _Program(Protocol):
    def execute(self, context: Mapping[str, Mapping[str, Fact]]) -> object: ...
    def references(self) -> dict[str, list[str]]: ...


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> _Program:
    import cel  # not above: it loads a terminal library, half a second that the command does not have

    program: _Program = cel.compile(expression)
    return program


def checked(expression: str) -> str:
    """`expression`, if it is a yes-or-no question over the facts. Raises for a validator."""
    try:
        references = _compiled(expression).references()
    except ValueError as err:  # what the library raises for a syntax error
        said = str(err).partition("ERROR: ")[2].splitlines() or [str(err)]
        raise refuse(f"this is not CEL: {said[0][:160]}", "", expression) from err
    _refuse_unknown(expression, references)
    for kind in SiteKind:
        _refuse_other_than_bool(expression, _example(kind, expression))
    return expression


Expression = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH), AfterValidator(checked)]


def _refuse_unknown(expression: str, references: Mapping[str, list[str]]) -> None:
    """By name, also where evaluation would not come by: `true || site.nonsense` is wrong too."""
    facts = "use " + ", ".join(f"site.{fact}" for fact in FACTS)
    bare = _TEXT.sub("''", expression)
    if macro := _MACRO.search(bare):
        raise refuse(f"{macro[1]}() is not allowed: no fact is a list", "", expression)
    for name in references["variables"]:
        if name != "site":
            raise refuse(f"unknown fact {name!r}: {facts}", "", expression)
    for fact in _ROOT.findall(bare):
        if fact not in FACTS:
            raise refuse(f"unknown fact 'site{'.' if fact else ''}{fact}': {facts}", "", expression)
    if unlike := _NUMBER_COMPARED.search(bare) or _TEXT_COMPARED.search(bare):
        raise refuse(f"{unlike[0]}... compares unlike types: {_types()}", "", expression)
    for function in references["functions"]:
        if function not in (*FUNCTIONS, *_OPERATORS, *_ARITHMETIC):
            raise refuse(f"unknown function {function!r}: use {', '.join(FUNCTIONS)}", "", expression)


def _refuse_other_than_bool(expression: str, facts: Mapping[str, Fact]) -> None:
    try:
        answer = _compiled(expression).execute({"site": facts})
    except (TypeError, ValueError, KeyError, RuntimeError) as err:
        said = str(err).partition(". ")[0].splitlines()[0][:160]
        raise refuse(f"{said}: {_types()}", "", expression) from err
    if not isinstance(answer, bool):
        raise refuse(f"answers {answer!r}: write a comparison that is true or false", "", expression)


def _types() -> str:
    return ", ".join(f"site.{name} is {says.partition(':')[0]}" for name, says in FACTS.items())


def _example(kind: SiteKind, expression: str) -> dict[str, Fact]:
    """Facts of a made-up site that has every label that the expression asks for."""
    labels = {name: "x" for found in _LABEL.findall(expression) for name in found if name}
    region = "x" if kind is SiteKind.REGION else ""
    return _facts("x", kind, region, "X", "x", "any", 1.0, labels)


def _facts(
    name: str,
    kind: SiteKind,
    region: str,
    jurisdiction: str,
    failure_domain: str,
    hardware_class: str,
    price_usd_per_hour: float,
    labels: dict[str, str],
) -> dict[str, Fact]:
    return {
        "name": name,
        "kind": kind.value,
        "region": region,
        "jurisdiction": jurisdiction,
        "failure_domain": failure_domain,
        "hardware_class": hardware_class,
        "price_usd_per_hour": price_usd_per_hour,
        "labels": labels,
    }


class Stated(NamedTuple):
    """What expressions see of a site: as operators state it. What changes from moment to moment is no fact."""

    name: str
    kind: SiteKind
    jurisdiction: str
    failure_domain: str
    hardware_class: str
    price_usd_per_hour: float
    labels: tuple[tuple[str, str], ...]


def facts_of(site: SiteSpec | Stated) -> dict[str, Fact]:
    """By the names that expressions know them by."""
    return _facts(
        site.name,
        site.kind,
        site.name if site.kind is SiteKind.REGION else "",
        site.jurisdiction,
        site.failure_domain,
        site.hardware_class,
        site.price_usd_per_hour,
        dict(site.labels),
    )


def holds(expression: str, facts: Mapping[str, Fact]) -> bool:
    """Whether the expression is true. One that cannot be answered (the site lacks the label) is false."""
    try:
        return _compiled(expression).execute({"site": facts}) is True
    except (TypeError, ValueError, KeyError, RuntimeError):
        return False


@dataclass(frozen=True, slots=True)
class Expressions:
    """Of one policy."""

    required: tuple[str, ...]
    preferred: tuple[tuple[float, str], ...]  # weight, expression

    def rule(self, site: SiteSpec) -> SiteRule:
        stated = Stated(
            site.name,
            site.kind,
            site.jurisdiction,
            site.failure_domain,
            site.hardware_class,
            site.price_usd_per_hour,
            site.labels,
        )
        return _rule(self.required, self.preferred, stated)


# Facts seldom change, and a snapshot asks for each policy and site: as many answers as a large fleet has. Tuples are
# hashed and compared ten times sooner than sites.
@lru_cache(maxsize=1 << 18)
def _rule(required: tuple[str, ...], preferred: tuple[tuple[float, str], ...], site: Stated) -> SiteRule:
    facts = facts_of(site)
    failed = [text for text in required if not holds(text, facts)]
    return SiteRule(
        site=SiteName(site.name),
        failed_requirement=failed[0] if failed else None,
        preference=sum(weight for weight, text in preferred if holds(text, facts)),
        also_failed=tuple(failed[1:]),
    )


def site_rules(expressions: Expressions, sites: Sequence[SiteSpec]) -> tuple[SiteRule, ...]:
    """What a policy's expressions say of each site, by site name."""
    return tuple(expressions.rule(site) for site in sorted(sites, key=lambda site: site.name))
