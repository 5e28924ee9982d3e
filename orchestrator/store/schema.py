"""The tables, once for both databases. `migrations/` makes them; a test holds the two together.

JSON is kept as text: PostgreSQL's jsonb would refuse "\\u0000" and rewrite numbers, and nothing here is searched by it.
Names sort by code point on both, so that lists come in one order wherever they are read.
"""

from sqlalchemy import BigInteger, Column, Double, Index, LargeBinary, MetaData, Table, Text

HEAD = "0002"  # the newest revision in migrations/versions; known here so that opening an up-to-date store is cheap
VERSION_TABLE = "skerry_schema"  # not Alembic's own name, which a neighbour in the same database may hold

LOG_ROW = 1

Name = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData()


def _object_columns(key_is_primary: bool) -> list[Column[object]]:
    return [
        Column("kind", Name, primary_key=key_is_primary, nullable=False),
        Column("namespace", Name, primary_key=key_is_primary, nullable=False),
        Column("name", Name, primary_key=key_is_primary, nullable=False),
        Column("uid", Text, nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("generation", BigInteger, nullable=False),
        Column("owner", Text, nullable=False),
        Column("labels", Text, nullable=False),
        Column("spec", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("created_wall_s", Double, nullable=False),
    ]


objects = Table("objects", metadata, *_object_columns(key_is_primary=True))

# Each change holds the object as written (a deleted one as it was), so that a watcher needs no second read.
changes = Table(
    "changes",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    *_object_columns(key_is_primary=False),
)

# One row. Every writer locks it first, so sequences become visible in their own order and claim checks do not race.
# Changes at or below `floor` were compacted.
log = Table(
    "log",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
)

# `body` is the claim; the other columns repeat what the capacity check reads.
claims = Table(
    "claims",
    metadata,
    Column("id", Name, primary_key=True),
    Column("site", Name, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("compute_millis", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("claims_by_site", "site"),
)

# `number` is the order of commits: the same decision made again becomes the latest again. `inputs` and `decided` are
# the digests of its two texts, which lie in `parts`; `changes` is a JSON list of sentences.
decisions = Table(
    "decisions",
    metadata,
    Column("id", Name, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("made_wall_s", Double, nullable=False),
    Column("services", BigInteger, nullable=False),
    Column("usd_per_hour", Double, nullable=False),
    Column("changes", Text, nullable=False),
    Column("inputs", Name, nullable=False),
    Column("decided", Name, nullable=False),
    Index("decisions_by_number", "number", unique=True),
    Index("decisions_by_inputs", "inputs"),
    Index("decisions_by_decided", "decided"),
)

# A text by its digest. `body` is a zstd frame, of which `base` names the text that it is a delta against, if it is one.
parts = Table(
    "parts",
    metadata,
    Column("digest", Name, primary_key=True),
    Column("base", Name, nullable=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("parts_by_base", "base"),
)

# A released lease stays as a row, because its epoch must never be given out again.
leases = Table(
    "leases",
    metadata,
    Column("name", Name, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_wall_s", Double, nullable=False),
)
