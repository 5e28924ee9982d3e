"""Runs in a client's own environment and prints its proto as JSON: `wire_script.py MODULE`. Also run on ours."""

import importlib
import json
import sys


def fields_of(message, prefix=""):
    """{"Message.field": [number, type, repeated, type name]}, nested messages and map entries included."""
    found = {}
    name = prefix + message.name
    for field in message.fields:
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        target = field.message_type.full_name if field.message_type else ""
        found[f"{name}.{field.name}"] = [field.number, field.type, bool(repeated), target]
    for nested in message.nested_types:
        found.update(fields_of(nested, name + "."))
    return found


def methods_of(service):
    return {m.name: [m.input_type.full_name, m.output_type.full_name] for m in service.methods}


file = importlib.import_module(sys.argv[1]).DESCRIPTOR
messages = {}
for message in file.message_types_by_name.values():
    messages.update(fields_of(message))
service = file.services_by_name["GRPCInferenceService"]
print(json.dumps({"package": file.package, "fields": messages, "methods": methods_of(service)}))
