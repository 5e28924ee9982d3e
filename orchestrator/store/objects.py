"""Writes of objects: who may, at which revision, and what of it is a change."""

import uuid
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from orchestrator.errors import NotFound, OwnerConflict, RevisionStale
from orchestrator.model.stored import ChangeType, Delete, Key, Put, StoredObject
from orchestrator.store.encoding import ObjectText, canonical_json, checked_key, object_of, object_row, with_text
from orchestrator.store.schema import changes, objects
from orchestrator.store.writing import Writing


@dataclass(frozen=True, slots=True)
class _Current:
    """An object as it lies in the database."""

    stored: StoredObject
    text: ObjectText


def read_object(connection: Connection, key: Key) -> StoredObject:
    """Raises NotFound."""
    current = _current(connection, key)
    if current is None:
        raise _not_found(key)
    return current.stored


def write_object(writing: Writing, write: Put | Delete) -> StoredObject:
    current = _current(writing.connection, checked_key(write.key))
    if isinstance(write, Delete):
        return _delete(writing, write, current)
    check_write(write, current.stored if current else None)
    return _create(writing, write) if current is None else _replace(writing, write, current)


def _create(writing: Writing, put: Put) -> StoredObject:
    text = _text(put, ObjectText())
    revision = writing.next_sequence()
    bare = StoredObject(put.key, str(uuid.uuid4()), revision, 1, put.owner, {}, {}, {}, writing.now_wall_s)
    stored = with_text(bare, text)
    writing.connection.execute(sa.insert(objects), object_row(stored, text))
    return _log_change(writing, ChangeType.PUT, stored, text)


def _replace(writing: Writing, put: Put, current: _Current) -> StoredObject:
    text = _text(put, current.text)
    if text == current.text:
        return current.stored
    generation = current.stored.generation + (text.spec != current.text.spec)
    numbered = replace(current.stored, revision=writing.next_sequence(), generation=generation)
    stored = with_text(numbered, text)
    writing.connection.execute(sa.update(objects).where(_is(put.key)).values(object_row(stored, text)))
    return _log_change(writing, ChangeType.PUT, stored, text)


def _delete(writing: Writing, delete: Delete, current: _Current | None) -> StoredObject:
    if current is None:
        raise _not_found(delete.key)
    check_write(delete, current.stored)
    writing.connection.execute(sa.delete(objects).where(_is(delete.key)))
    writing.next_sequence()
    return _log_change(writing, ChangeType.DELETE, current.stored, current.text)


def _log_change(writing: Writing, type_: ChangeType, stored: StoredObject, text: ObjectText) -> StoredObject:
    """The object's revision is the sequence that wrote it: one deleted and made again never has an old number."""
    entry = {**object_row(stored, text), "sequence": writing.sequence, "type": type_.value}
    writing.connection.execute(sa.insert(changes), entry)
    return stored


def check_write(write: Put | Delete, stored: StoredObject | None) -> None:
    """Whether this may be written over what is stored. Raises OwnerConflict, RevisionStale."""
    if stored is not None and stored.owner != write.owner:
        raise OwnerConflict(
            f'{stored.key}: is managed by "{stored.owner}", and this write comes from "{write.owner}": '
            f'change it through "{stored.owner}", or delete it there first'
        )
    found = 0 if stored is None else stored.revision
    if stored is None and isinstance(write, Put) and write.spec is None:
        # A late status must not bring a deleted object back as an empty one.
        raise RevisionStale(f"{write.key}: does not exist, and this write has no spec to make it: read it again")
    if write.expected_revision is None or write.expected_revision == found:
        return
    if write.expected_revision == 0:
        raise RevisionStale(f"{write.key}: exists already, at revision {found}: read it, then write at that revision")
    state = f"is at revision {found}" if found else "was deleted"
    raise RevisionStale(f"{write.key}: {state}, not at {write.expected_revision}: read it again, then repeat the write")


def _not_found(key: Key) -> NotFound:
    return NotFound(f"{key}: does not exist: check kind, namespace and name, or apply it first")


def _text(put: Put, stored: ObjectText) -> ObjectText:
    """None keeps what is stored."""
    return ObjectText(
        labels=stored.labels if put.labels is None else canonical_json(f"{put.key}: labels", put.labels),
        spec=stored.spec if put.spec is None else canonical_json(f"{put.key}: spec", put.spec),
        status=stored.status if put.status is None else canonical_json(f"{put.key}: status", put.status),
    )


def _current(connection: Connection, key: Key) -> _Current | None:
    row = connection.execute(sa.select(objects).where(_is(key))).mappings().one_or_none()
    if row is None:
        return None
    return _Current(object_of(row), ObjectText(row["labels"], row["spec"], row["status"]))


def _is(key: Key) -> ColumnElement[bool]:
    return sa.and_(objects.c.kind == key.kind, objects.c.namespace == key.namespace, objects.c.name == key.name)
