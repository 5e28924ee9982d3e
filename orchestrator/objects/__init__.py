"""The objects that operators write: their YAML, their checks, and what the planner gets of them.

Names load on first use, so that the command can list kinds without loading pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.objects.documents import Written, parse_documents, written_documents
    from orchestrator.objects.forms import (
        Form,
        document_of,
        form_of,
        key_of,
        labels_of,
        revision_of,
        spec_of,
        validate,
        validate_all,
    )
    from orchestrator.objects.kinds import API_VERSION, DEFAULT_NAMESPACE, KINDS, NODE, STORED, Kind, kind_named

_HOME = {
    "documents": ("parse_documents", "written_documents", "Written"),
    "forms": (
        "Form",
        "validate",
        "validate_all",
        "form_of",
        "key_of",
        "labels_of",
        "spec_of",
        "revision_of",
        "document_of",
    ),
    "kinds": ("API_VERSION", "DEFAULT_NAMESPACE", "KINDS", "NODE", "STORED", "Kind", "kind_named"),
}
__all__ = [
    "API_VERSION",
    "DEFAULT_NAMESPACE",
    "KINDS",
    "NODE",
    "STORED",
    "NODE_REMEDY",
    "Form",
    "Kind",
    "Written",
    "document_of",
    "form_of",
    "key_of",
    "kind_named",
    "labels_of",
    "parse_documents",
    "revision_of",
    "spec_of",
    "validate",
    "validate_all",
    "written_documents",
]


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
