"""JSON Schemas of the kinds and of what is told: `python -m orchestrator.objects.schema docs/schema` writes them."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from orchestrator.model.plan import Plan
from orchestrator.model.relaxation import Remedy
from orchestrator.model.snapshot import ServiceDecision
from orchestrator.model.view import PlacementView
from orchestrator.objects.forms import FORMS


def schemas() -> Mapping[str, str]:
    """File name -> its text."""
    documents = {kind: form.model_json_schema(mode="validation") for kind, form in FORMS.items()}
    documents["ServiceDecision"] = TypeAdapter(ServiceDecision).json_schema(mode="serialization")
    documents["Remedy"] = TypeAdapter(Remedy).json_schema(mode="serialization")
    documents["Plan"] = TypeAdapter(Plan).json_schema(mode="serialization")
    documents["PlacementView"] = TypeAdapter(PlacementView).json_schema(mode="serialization")
    header = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {f"{name}.json": json.dumps(header | document, indent=2) + "\n" for name, document in documents.items()}


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m orchestrator.objects.schema FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
