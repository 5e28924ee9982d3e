"""Every kind: what is accepted, what it becomes, and how the rest is refused."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidRequest
from orchestrator.model.stored import Json, Key
from orchestrator.objects import (
    KINDS,
    document_of,
    form_of,
    key_of,
    kind_named,
    labels_of,
    parse_documents,
    revision_of,
    spec_of,
    validate,
    validate_all,
)
from orchestrator.objects.forms import FORMS
from orchestrator.objects.kinds import names_node
from orchestrator.objects.schema import schemas
from tests.objects.documents_by_kind import DIGEST, SPECS, document, stored, variant

ROOT = Path(__file__).parents[2]


def _changed(kind: str, field: str, value: Json) -> dict[str, Json]:
    """The smallest document with one field set, parents made as needed."""
    changed = copy.deepcopy(document(kind))
    _set(changed, field, value)
    return changed


def _set(changed: dict[str, Json], field: str, value: Json) -> None:
    at: object = changed
    *parents, last = field.split(".")
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})  # type: ignore[attr-defined]
    if isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value  # type: ignore[index]


def _refused(changed: dict[str, Json]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        validate(changed)
    return caught.value


def test_all_kinds_have_a_form_and_an_accepted_smallest_document() -> None:
    assert set(KINDS) == set(FORMS) == set(SPECS)
    for kind in KINDS:
        assert key_of(validate(document(kind))) == Key(kind, "default" if KINDS[kind].namespaced else "", "thing")


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_a_stored_object_reads_back_and_its_document_may_be_applied_again(kind: str) -> None:
    one = stored(document(kind, labels={"line": "a"}), status={"phase": "Ready"})
    shown = document_of(one)
    metadata = shown["metadata"]
    assert isinstance(metadata, dict)
    assert (metadata["revision"], metadata["managedBy"]) == (7, "command")
    assert metadata["creationTimestamp"] == "1970-01-01T00:00:00Z"
    assert shown["status"] == {"phase": "Ready"}
    again = validate(shown)
    assert (key_of(again), spec_of(again), labels_of(again)) == (one.key, one.spec, {"line": "a"})
    assert revision_of(again) == 7
    assert spec_of(form_of(one)) == one.spec


def test_equal_specs_are_equal_whatever_was_written() -> None:
    short = validate(document("Site"))
    long = validate(document("Site", {"price_usd_per_hour": 0, "failure_domain": "thing", **SPECS["Site"]}))
    assert spec_of(short) == spec_of(long)
    assert spec_of(short)["failure_domain"] == "thing"


def test_a_version_without_profiles_is_stored_as_before_there_were_any() -> None:
    (variant_spec,) = spec_of(validate(document("ModelVersion")))["variants"]  # type: ignore[misc, union-attr]
    assert "profiles" not in variant_spec


@pytest.mark.parametrize(
    ("kind", "field", "value", "at", "remedy"),
    [
        (
            "ModelVersion",
            "spec.variants.0.profiles",
            [{"hardware_class": "pi", "latency": {"p50_ms": 1, "p99_ms": 2}}] * 2,
            "spec.variants.0.profiles.1.hardware_class",
            "give it once",
        ),
        (
            "ModelVersion",
            "spec.variants.0.profiles",
            [{"hardware_class": "pi", "latency": {"p50_ms": 2, "p99_ms": 1}}],
            "spec.variants.0.profiles.0.latency.p99_ms",
            "at least p50_ms",
        ),
        ("PlacementPolicy", "spec.latency.p99", 40, "spec.latency.p99", "did you mean p99_ms?"),
        ("PlacementPolicy", "spec.latencies", {}, "spec.latencies", "did you mean latency?"),
        ("PlacementPolicy", "spec.replicas.survive_sites", 1, "spec.replicas.survive_sites", "survive_site_losses?"),
        ("ModelService", "spec.demand.0.rate", 1, "spec.demand.0.rate", "did you mean rate_rps?"),
        ("Site", "metadata.namespace", "x", "metadata.namespace", "unknown field"),
        ("Site", "specs", {}, "specs", "did you mean spec?"),
        ("PlacementPolicy", "spec.latency.p99_ms", "40", "spec.latency.p99_ms", "valid number"),
        ("PlacementPolicy", "spec.latency.p99_ms", True, "spec.latency.p99_ms", "valid number"),
        ("PlacementPolicy", "spec.latency.p99_ms", -1, "spec.latency.p99_ms", "greater than 0"),
        ("PlacementPolicy", "spec.accuracy", {}, "spec.accuracy.min", "required"),
        ("PlacementPolicy", "spec.replicas", {"min": 3, "max": 2}, "spec.replicas.max", "at least replicas.min, 3"),
        ("PlacementPolicy", "spec.replicas", {"max": 1, "min_failure_domains": 2}, "spec.replicas.min_failure_domains",
         "replicas.max, 1"),
        ("PlacementPolicy", "spec.replicas", {"max": 1, "survive_site_losses": 1}, "spec.replicas.survive_site_losses",
         "raise replicas.max to 2"),
        ("PlacementPolicy", "spec.replicas.survive_site_losses", 2, "spec.replicas.survive_site_losses", "equal to 1"),
        ("PlacementPolicy", "spec.replicas", {"max": 2, "max_share_per_domain": 0.4},
         "spec.replicas.max_share_per_domain", "3 or more"),
        ("PlacementPolicy", "spec.replicas.max_share_per_domain", 0, "spec.replicas.max_share_per_domain", "greater"),
        ("PlacementPolicy", "spec.affinity", {"pins": [{"site": "a"}, {"site": "b"}], "bans": ["b"]},
         "spec.affinity.pins.1.site", "affinity.bans too"),
        ("PlacementPolicy", "spec.affinity", {"pins": [{"site": "a"}, {"site": "a"}]}, "spec.affinity.pins.1.site",
         "once"),
        ("PlacementPolicy", "spec.affinity", {"bans": ["b", "b"]}, "spec.affinity.bans.1", "once"),
        ("PlacementPolicy", "spec.affinity", {"anti_affinity": [{"service": "a"}, {"service": "a"}]},
         "spec.affinity.anti_affinity.1.service", "once"),
        ("PlacementPolicy", "spec.affinity", {"anti_affinity": [{"service": "a", "within": "rack"}]},
         "spec.affinity.anti_affinity.0.within", "'site' or 'failure_domain'"),
        ("PlacementPolicy", "spec", {"replicas": {"max": 2}, "affinity": {"pins": [{"site": "a", "replicas": 3}]}},
         "spec.replicas.max", "affinity.pins hold 3"),
        ("PlacementPolicy", "spec.stability.freeze", ["Fri 16:00"], "spec.stability.freeze.0", "Fri 16:00-Mon 06:00"),
        ("PlacementPolicy", "spec.stability.freeze", ["Mon 00:00-Mon 00:00 UTC"], "spec.stability.freeze.0",
         "whole week"),
        ("PlacementPolicy", "spec.stability.freeze", ["Mon 00:00-Fri 06:00 UTC", "Fri 05:00-Mon 02:00 Europe/Berlin"],
         "spec.stability.freeze", "whole week"),
        ("PlacementPolicy", "spec.stability.horizon_s", 0, "spec.stability.horizon_s", "greater than 0"),
        ("PlacementPolicy", "spec.rollout.max_concurrent_changes", 0, "spec.rollout.max_concurrent_changes",
         "equal to 1"),
        ("Site", "spec.front_mbps", 10, "spec.front_mbps", "fronts stand in regions"),
        ("TenantQuota", "spec", {}, "spec.memory_mib", "memory_mib, cores or both"),
        ("PlacementPolicy", "spec.replicas.min", 1.5, "spec.replicas.min", "integer"),
        ("PlacementPolicy", "spec.accuracy.min", 97, "spec.accuracy.min", "less than or equal to 1"),
        ("PlacementPolicy", "spec.residency.jurisdictions", [], "spec.residency.jurisdictions", "at least 1"),
        ("PlacementPolicy", "spec.residency.jurisdictions", ["E U"], "spec.residency.jurisdictions.0", "such as EU"),
        ("PlacementPolicy", "spec.required", ["true", "true"], "spec.required.1", "once"),
        ("Site", "metadata.name", "Edge_A", "metadata.name", "lower-case"),
        ("Site", "metadata.name", "a" * 64, "metadata.name", "63"),
        ("Site", "metadata.labels", {"a b": "c"}, "metadata.labels.a b", "letters, digits"),
        ("Site", "spec.kind", "edgy", "spec.kind", "'edge' or 'region'"),
        ("Site", "spec.kind", "region", "spec.quota", "give a region its quota"),
        ("Site", "spec.quota", {"memory_mib": 1, "cores": 0}, "spec.quota.cores", "0.001"),
        ("Zone", "spec", {}, "spec.region", "exactly one"),
        ("Zone", "spec.site", "edge-a", "spec.site", "exactly one"),
        ("ModelService", "spec.version", "v1", "spec.version", "exactly one"),
        ("ModelService", "spec.demand", [], "spec.demand", "at least 1"),
        ("ModelVersion", "spec.variants", [variant(), variant()], "spec.variants.1.variant", "once"),
        ("ModelVersion", "spec.variants.0.artifact.digest", "md5:0", "spec.variants.0.artifact.digest", "sha256:"),
        ("ModelVersion", "spec.variants.0.artifact.format", "savedmodel.tar", "spec.variants.0.artifact.format",
         "tflite"),
        ("ModelVersion", "spec.variants.0.latency.p99_ms", 0.001, "spec.variants.0.latency.p99_ms", "at least p50_ms"),
        ("ModelVersion", "spec.source", {"kind": "trained"}, "spec.source.job", "name the job"),
        ("TrainingJob", "spec.workers", 9, "spec.workers", "less than or equal to 8"),
        ("TrainingJob", "spec.recipe", "digits", "spec.recipe", "digits-cnn"),
        ("TrainingJob", "spec.variants", ["litert-fp32", "litert-fp32"], "spec.variants.1", "once"),
        ("Site", "apiVersion", "v1", "apiVersion", "skerry.dev/v1alpha1"),
        ("Site", "kind", "site", "kind", "did you mean Site?"),
        ("Site", "spec.price_usd_per_hour", float("nan"), "Site", "finite"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_field_and_remedy(
    kind: str, field: str, value: Json, at: str, remedy: str
) -> None:
    refused = _refused(_changed(kind, field, value))
    assert refused.field == at
    assert remedy in refused.remedy
    assert refused.field in str(refused)


def test_a_misspelt_required_field_is_reported_as_unknown_not_as_missing() -> None:
    spec = dict(SPECS["TrainingJob"])
    spec["recipes"] = spec.pop("recipe")
    refused = _refused(document("TrainingJob", spec))
    assert (refused.field, "did you mean recipe?" in refused.remedy) == ("spec.recipes", True)
    assert refused.more == ()


BAD_FIELDS: dict[str, Json] = {
    "apiVersion": "v2",
    "metadata.name": "Line_1",
    "metadata.labels": {"a b": "c"},
    "spec.latency.p99_ms": "fast",
    "spec.residency.jurisdictions": ["E U"],
    "spec.accuracy.min": 97,
    "spec.replicas.maximum": 3,
    "spec.required": ["site.planet == 'x'"],
}


@given(st.sets(st.sampled_from(sorted(BAD_FIELDS)), min_size=1))
def test_all_that_is_wrong_is_told_at_once(fields: set[str]) -> None:
    changed = copy.deepcopy(document("PlacementPolicy"))
    for field in fields:
        _set(changed, field, BAD_FIELDS[field])
    refused = _refused(changed)
    told = {one.field for one in refused.problems}
    assert all(any(one.startswith(field) for one in told) for field in fields)
    assert len(told) == len(fields)
    assert str(refused).split("\n") == [one.sentence for one in refused.problems]
    assert all(one.remedy for one in refused.problems)


def test_an_unknown_kind_hides_no_wrong_version() -> None:
    refused = _refused({"apiVersion": "v1", "kind": "Pod"})
    assert [one.field for one in refused.problems] == ["kind", "apiVersion"]


def test_of_several_documents_each_problem_says_whose_it_is() -> None:
    documents = [document("Site", {"kind": "moon"}), document("Zone"), {"kind": "Pod"}]
    with pytest.raises(InvalidRequest) as caught:
        validate_all(documents)
    assert [one.field for one in caught.value.problems] == [
        "document 1 (Site thing): spec.kind",
        "document 1 (Site thing): spec.jurisdiction",
        "document 3 (Pod): kind",
        "document 3 (Pod): apiVersion",
    ]
    with pytest.raises(InvalidRequest) as alone:
        validate_all(documents[2:])
    assert alone.value.field == "kind"
    assert [key_of(form).kind for form in validate_all(documents[1:2])] == ["Zone"]


def test_every_variant_and_source_is_accepted() -> None:
    spec: dict[str, Json] = {
        "model": "digits",
        "source": {"kind": "trained", "job": "digits-1"},
        "variants": [
            variant("savedmodel", accuracy=0.98),
            variant("litert-int8", cores=0.25, inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 8, 8, 1]}]),
        ],
    }
    (savedmodel, int8) = spec_of(validate(document("ModelVersion", spec)))["variants"]  # type: ignore[misc]
    assert savedmodel["artifact"] == {"digest": DIGEST, "size_bytes": 43_000, "format": "savedmodel.tar"}
    assert (int8["cores"], "accuracy" in int8) == (0.25, False)


def test_kinds_go_by_several_names() -> None:
    assert {kind_named(word).name for word in ("svc", "ModelService", "services", "modelservices", "ms")} == {
        "ModelService"
    }
    with pytest.raises(InvalidRequest, match="sites"):
        kind_named("pods")
    for word in ("node", "Nodes", "no"):
        assert kind_named(word).name == "Node"
        assert names_node(word)
    with pytest.raises(InvalidRequest, match="a node registers itself and is not applied"):
        validate(document("Node", {"site": "harbour"}))


def test_published_examples_are_accepted_and_schemas_are_fresh() -> None:
    examples = sorted((ROOT / "docs/examples").glob("*.yaml"))
    assert examples
    seen = {validate(one).kind for path in examples for one in parse_documents(path.read_text(), str(path))}
    assert seen == set(KINDS) - {"ModelVersion"}  # versions are made by training and by push
    folder = ROOT / "docs/schema"
    written = {path.name: path.read_text() for path in folder.glob("*.json")}
    assert written == schemas(), "run: python -m orchestrator.objects.schema docs/schema"


def test_the_commands_words_load_without_pydantic_and_forms_without_cel() -> None:
    script = (
        "import sys, orchestrator.objects as o; o.KINDS; o.parse_documents; assert 'pydantic' not in sys.modules;"
        "o.validate; assert 'cel' not in sys.modules and 'typer' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
