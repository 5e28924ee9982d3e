"""Decisions and what they were made of: each text once by its digest, as a delta against an earlier one if smaller.

A delta is a zstd frame whose dictionary is the whole earlier text. Every delta hangs on a whole one, never on another
delta: reading takes two frames, and nothing but its base must outlive a pruned neighbour.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
import zstandard
from sqlalchemy import Connection

from orchestrator.errors import Damaged, NotFound
from orchestrator.model.ids import DecisionId
from orchestrator.model.stored import DecisionRecord, StoredDecision
from orchestrator.store.encoding import record_of
from orchestrator.store.schema import decisions, parts
from orchestrator.store.writing import Writing

_LEVEL = 3  # 9 saves a tenth of the bytes and takes ten times as long (docs/decisions/0009-decision-history.md)
# What a larger delta saves is not worth a base that has drifted away: the whole is stored, and later ones hang on it.
_WORTH = 0.75
_WINDOW_LOG = (10, 27)  # 128 MiB is what zstd's decoders accept without being asked
_LONG_BYTES = 1 << 20  # from here on a match may lie further back than the level looks by itself


@dataclass(frozen=True, slots=True)
class _Text:
    digest: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Part:
    """A row of `parts`, and the text that it stands for."""

    text: _Text
    base: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """A decision as it will be written."""

    record: DecisionRecord
    inputs: _Part
    decided: _Part


def pack(connection: Connection, decision: StoredDecision) -> Packed:
    """Against the texts that the latest decision hangs on."""
    return Packed(
        decision.record,
        _packed(_text(decision.inputs_json), _base(connection, decisions.c.inputs)),
        _packed(_text(decision.decision_json), _base(connection, decisions.c.decided)),
    )


def put_decision(writing: Writing, packed: Packed) -> None:
    """One that is made again after another becomes the latest again."""
    connection, record = writing.connection, packed.record
    connection.execute(sa.delete(decisions).where(decisions.c.id == record.id))
    for part in (packed.inputs, packed.decided):
        _put_part(connection, part)
    row = {
        "id": record.id,
        "number": writing.next_sequence(),
        "epoch": record.epoch,
        "made_wall_s": record.made_wall_s,
        "services": record.services,
        "usd_per_hour": record.usd_per_hour,
        "changes": json.dumps(record.changes),
        "inputs": packed.inputs.text.digest,
        "decided": packed.decided.text.digest,
    }
    connection.execute(sa.insert(decisions), row)


def read_decision(connection: Connection, id: DecisionId) -> StoredDecision:
    """Raises NotFound, Damaged."""
    row = connection.execute(sa.select(decisions).where(decisions.c.id == id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"decision {id}: is not stored: it was never made here, or was pruned since")
    inputs, decided = (_read(connection, id, row[column]).raw.decode() for column in ("inputs", "decided"))
    return StoredDecision(record_of(row), inputs, decided)


def records(connection: Connection, limit: int) -> list[DecisionRecord]:
    newest = sa.select(decisions).order_by(decisions.c.number.desc()).limit(limit)
    return [record_of(row) for row in connection.execute(newest).mappings()]


def prune(connection: Connection, keep: int, made_after_wall_s: float, limit: int) -> int:
    """See SqlStore.prune_decisions."""
    numbers = sa.select(decisions.c.number).order_by(decisions.c.number.desc())
    latest = connection.execute(numbers.limit(1)).scalar_one_or_none()
    newest_gone = connection.execute(numbers.offset(keep).limit(1)).scalar_one_or_none()
    too_many = sa.false() if newest_gone is None else decisions.c.number <= newest_gone
    statement = (
        sa.select(decisions.c.number, decisions.c.inputs, decisions.c.decided)
        .where(decisions.c.number != latest, sa.or_(too_many, decisions.c.made_wall_s < made_after_wall_s))
        .order_by(decisions.c.number)
        .limit(limit)
    )
    rows = connection.execute(statement).all()
    connection.execute(sa.delete(decisions).where(decisions.c.number.in_([row.number for row in rows])))
    bases = _drop_unused(connection, {digest for row in rows for digest in (row.inputs, row.decided)})
    _drop_unused(connection, bases)
    return len(rows)


def _drop_unused(connection: Connection, digests: Collection[str]) -> set[str]:
    """Of these parts, those that no decision names and no delta hangs on; answers what the dropped ones hung on."""
    delta = parts.alias()
    unused = sa.and_(
        parts.c.digest.in_(sorted(digests)),
        ~sa.exists().where(sa.or_(decisions.c.inputs == parts.c.digest, decisions.c.decided == parts.c.digest)),
        ~sa.exists().where(delta.c.base == parts.c.digest),
    )
    rows = connection.execute(sa.select(parts.c.digest, parts.c.base).where(unused)).all()
    connection.execute(sa.delete(parts).where(parts.c.digest.in_([row.digest for row in rows])))
    return {row.base for row in rows if row.base is not None}


def _text(text: str) -> _Text:
    raw = text.encode()
    return _Text(_digest(raw), raw)


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _base(connection: Connection, column: sa.Column[str]) -> _Text | None:
    """The whole text that the latest decision's is, or hangs on. None: there is none, or it is damaged."""
    of_latest = sa.select(parts.c.digest, parts.c.base).join(decisions, column == parts.c.digest)
    row = connection.execute(of_latest.order_by(decisions.c.number.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    try:
        return _read(connection, DecisionId("the latest"), row.base or row.digest)
    except Damaged:  # deciding goes on; whoever asks for the damaged one is told
        return None


def _packed(text: _Text, base: _Text | None) -> _Part:
    whole = zstandard.ZstdCompressor(level=_LEVEL).compress(text.raw)
    if base is not None and base.digest != text.digest:
        delta = _compressor(text, base).compress(text.raw)
        if len(delta) < _WORTH * len(whole):
            return _Part(text, base.digest, delta)
    return _Part(text, None, whole)


def _compressor(text: _Text, base: _Text) -> zstandard.ZstdCompressor:
    span = len(text.raw) + len(base.raw)
    least, most = _WINDOW_LOG
    chosen = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, window_log=min(max(span.bit_length(), least), most), enable_ldm=span > _LONG_BYTES
    )
    return zstandard.ZstdCompressor(dict_data=_dictionary(base), compression_params=chosen)


def _dictionary(base: _Text) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(base.raw, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _put_part(connection: Connection, part: _Part) -> None:
    """Unless it is there: a text is stored once. One whose base was pruned in the meantime is stored whole."""
    digest = part.text.digest
    there = set(connection.execute(sa.select(parts.c.digest).where(parts.c.digest.in_([digest, part.base]))).scalars())
    if digest in there:
        return
    if part.base is not None and part.base not in there:
        part = _packed(part.text, None)
    row = {"digest": digest, "base": part.base, "size_bytes": len(part.text.raw), "body": part.body}
    connection.execute(sa.insert(parts), row)


def _read(connection: Connection, id: DecisionId, digest: str) -> _Text:
    """The text, only if it has this digest. Raises Damaged."""
    row = connection.execute(sa.select(parts).where(parts.c.digest == digest)).mappings().one_or_none()
    if row is None:
        raise _damaged(id, digest, "is missing")
    base = None if row["base"] is None else _read_whole(connection, id, row["base"])
    raw = _unpacked(id, digest, row["size_bytes"], row["body"], base)
    return _Text(digest, raw)


def _read_whole(connection: Connection, id: DecisionId, digest: str) -> _Text:
    base = sa.select(parts.c.base).where(parts.c.digest == digest)
    if connection.execute(base).scalar_one_or_none() is not None:
        raise _damaged(id, digest, "is a delta where a whole one belongs")
    return _read(connection, id, digest)


def _unpacked(id: DecisionId, digest: str, size_bytes: int, body: bytes, base: _Text | None) -> bytes:
    try:
        if zstandard.frame_content_size(body) != size_bytes:  # before so much memory is taken
            raise _damaged(id, digest, "does not have the length that was written")
        dictionary = None if base is None else _dictionary(base)
        raw = zstandard.ZstdDecompressor(dict_data=dictionary).decompress(body)
    except zstandard.ZstdError as err:
        raise _damaged(id, digest, "cannot be unpacked") from err
    if _digest(raw) != digest:
        raise _damaged(id, digest, "is not what was written")
    return raw


def _damaged(id: DecisionId, digest: str, what: str) -> Damaged:
    return Damaged(f"decision {id}: part {digest[:19]} {what}: bring back a backup with `skerry restore`")
