"""Writes of objects: who may, at which revision, and what of it is a change."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy import Connection

from orchestrator.errors import NotFound, OwnerConflict, RevisionStale
from orchestrator.model.stored import ChangeType, Delete, Key, Put, StoredObject
from orchestrator.store.encoding import (
    ObjectText,
    canonical_json,
    checked_key,
    is_key,
    object_of,
    object_row,
    with_text,
)
from orchestrator.store.schema import changes, objects
from orchestrator.store.writing import Writing

_CHUNK = 500  # names in one statement: an older SQLite takes 999 parameters


@dataclass(frozen=True, slots=True)
class _Current:
    """An object as it lies in the database."""

    stored: StoredObject
    text: ObjectText


def read_object(connection: Connection, key: Key) -> StoredObject:
    """Raises NotFound."""
    current = _current(connection, [key]).get(key)
    if current is None:
        raise _not_found(key)
    return current.stored


def write_objects(writing: Writing, writes: Sequence[Put | Delete]) -> list[StoredObject]:
    """One after the other, in few statements: a round trip for each object takes longer than all else."""
    before = _current(writing.connection, [write.key for write in writes if is_key(write.key)])
    batch = _Batch(writing, dict(before))
    written = [batch.write(write) for write in writes]
    _store(writing.connection, before, batch.now)
    if batch.log:
        writing.connection.execute(sa.insert(changes), batch.log)
    return written


@dataclass(slots=True)
class _Batch:
    """Writes of one transaction, before they are in the database."""

    writing: Writing
    now: dict[Key, _Current]
    log: list[dict[str, object]] = field(default_factory=list)

    def write(self, write: Put | Delete) -> StoredObject:
        current = self.now.get(checked_key(write.key))
        if isinstance(write, Delete):
            return self._delete(write, current)
        check_write(write, current.stored if current else None)
        return self._create(write) if current is None else self._replace(write, current)

    def _create(self, put: Put) -> StoredObject:
        text, writing = _text(put, ObjectText()), self.writing
        revision = writing.next_sequence()
        bare = StoredObject(put.key, str(uuid.uuid4()), revision, 1, put.owner, {}, {}, {}, writing.now_wall_s)
        return self._put(with_text(bare, text), text)

    def _replace(self, put: Put, current: _Current) -> StoredObject:
        text = _text(put, current.text)
        if text == current.text:
            return current.stored
        generation = current.stored.generation + (text.spec != current.text.spec)
        numbered = replace(current.stored, revision=self.writing.next_sequence(), generation=generation)
        return self._put(with_text(numbered, text), text)

    def _put(self, stored: StoredObject, text: ObjectText) -> StoredObject:
        self.now[stored.key] = _Current(stored, text)
        self._log_change(ChangeType.PUT, stored, text)
        return stored

    def _delete(self, delete: Delete, current: _Current | None) -> StoredObject:
        if current is None:
            raise _not_found(delete.key)
        check_write(delete, current.stored)
        del self.now[delete.key]
        self.writing.next_sequence()
        self._log_change(ChangeType.DELETE, current.stored, current.text)
        return current.stored

    def _log_change(self, type_: ChangeType, stored: StoredObject, text: ObjectText) -> None:
        """The object's revision is the sequence that wrote it: one deleted and made again never has an old number."""
        self.log.append({**object_row(stored, text), "sequence": self.writing.sequence, "type": type_.value})


def _store(connection: Connection, before: Mapping[Key, _Current], now: Mapping[Key, _Current]) -> None:
    here = sa.and_(*(objects.c[column] == sa.bindparam(f"at_{column}") for column in ("kind", "namespace", "name")))
    gone = [_at(key) for key in before.keys() - now.keys()]
    made = [object_row(one.stored, one.text) for key, one in now.items() if key not in before]
    changed = [
        _at(key) | object_row(one.stored, one.text)
        for key, one in now.items()
        if key in before and one is not before[key]
    ]
    if gone:
        connection.execute(sa.delete(objects).where(here), gone)
    if made:
        connection.execute(sa.insert(objects), made)
    if changed:
        connection.execute(sa.update(objects).where(here), changed)


def _at(key: Key) -> dict[str, object]:
    return {"at_kind": key.kind, "at_namespace": key.namespace, "at_name": key.name}


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


def _current(connection: Connection, keys: Sequence[Key]) -> dict[Key, _Current]:
    """Those of the objects that are there."""
    names: dict[tuple[str, str], set[str]] = {}
    for key in keys:
        names.setdefault((key.kind, key.namespace), set()).add(key.name)
    found: dict[Key, _Current] = {}
    for (kind, namespace), those in names.items():
        ordered = sorted(those)
        for start in range(0, len(ordered), _CHUNK):
            chunk = objects.c.name.in_(ordered[start : start + _CHUNK])
            here = sa.and_(objects.c.kind == kind, objects.c.namespace == namespace, chunk)
            for row in connection.execute(sa.select(objects).where(here)).mappings():
                stored = object_of(row)
                found[stored.key] = _Current(stored, ObjectText(row["labels"], row["spec"], row["status"]))
    return found
