"""Any message of the wire, as a stranger or an older or newer part may send it: hostile numbers, names and shapes."""

from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

M = TypeVar("M", bound=Message)

INTEGERS = {
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)),
    FieldDescriptor.TYPE_SINT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
}
NAMES = (
    "",
    "n1",
    "n2",
    "s1",
    "default",
    "../../etc/passwd",
    "a" * 300,
    "\x00",
    "ä\n",
    "site/s1",
    "front/f",
    "sha256:00",
)
TEXTS = st.one_of(st.sampled_from(NAMES), st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
DEPTH = 4


def messages(of: type[M]) -> st.SearchStrategy[M]:
    """Any message of a type, its fields set or not."""
    return _fields(of.DESCRIPTOR, DEPTH).map(lambda fields: _built(of(), fields))


@cache
def _fields(descriptor: Descriptor, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    known = {field.name: _values(field, depth) for field in descriptor.fields if depth or not field.message_type}
    return st.fixed_dictionaries({}, optional=known)


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type and field.message_type.GetOptions().map_entry:
        return st.dictionaries(TEXTS, TEXTS, max_size=2)
    one = _fields(field.message_type, depth - 1) if field.message_type else _scalar(field)
    return st.lists(one, max_size=3) if field.is_repeated else one


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return TEXTS
        case FieldDescriptor.TYPE_BYTES:
            return st.binary(max_size=40)
        case FieldDescriptor.TYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            return st.one_of(st.floats(), st.floats(0, 1e3))
        case FieldDescriptor.TYPE_ENUM:
            return st.integers(-1, 12)  # proto3 keeps values that it does not know
        case _:
            return INTEGERS[field.type]


def _built(message: M, fields: dict[str, Any]) -> M:
    for name, value in fields.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        target = getattr(message, name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            target.update(value)
        elif field.message_type and field.is_repeated:
            for one in value:
                _built(target.add(), one)
        elif field.message_type:
            target.SetInParent()
            _built(target, value)
        elif field.is_repeated:
            target.extend(value)
        else:
            setattr(message, name, value)
    return message
