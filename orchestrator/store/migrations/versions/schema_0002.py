"""Decisions with all of their inputs, in parts by digest.

What the first release decided, it decided with one seed and one set of settings: they are filled in here.
"""

import hashlib
import json

import sqlalchemy as sa
import zstandard
from alembic import op

revision = "0002"
down_revision = "0001"

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SETTINGS = {"target_utilisation": 0.6, "transfer_share": 0.25}


def upgrade() -> None:
    parts = op.create_table(
        "parts",
        sa.Column("digest", NAME, primary_key=True),
        sa.Column("base", NAME, nullable=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("parts_by_base", "parts", ["base"])
    rows = _moved(parts)
    op.drop_index("decisions_by_number", "decisions")
    op.drop_table("decisions")
    decisions = op.create_table(
        "decisions",
        sa.Column("id", NAME, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("made_wall_s", sa.Double, nullable=False),
        sa.Column("services", sa.BigInteger, nullable=False),
        sa.Column("usd_per_hour", sa.Double, nullable=False),
        sa.Column("changes", sa.Text, nullable=False),
        sa.Column("inputs", NAME, nullable=False),
        sa.Column("decided", NAME, nullable=False),
    )
    op.create_index("decisions_by_number", "decisions", ["number"], unique=True)
    op.create_index("decisions_by_inputs", "decisions", ["inputs"])
    op.create_index("decisions_by_decided", "decisions", ["decided"])
    op.bulk_insert(decisions, rows)


def _moved(parts: sa.Table) -> list[dict[str, object]]:
    """Each decision's texts into `parts`, one decision in memory at a time; answers the rows without them."""
    connection = op.get_bind()
    old = sa.table("decisions", *(sa.column(name) for name in ("id", "number", "epoch", "made_wall_s")))
    texts = sa.table("decisions", *(sa.column(name) for name in ("id", "snapshot_json", "decision_json")))
    rows: list[dict[str, object]] = []
    for row in connection.execute(sa.select(old)).mappings().all():
        found = connection.execute(sa.select(texts).where(texts.c.id == row["id"])).one()
        decided = json.loads(found.decision_json)
        summary = {"services": len(decided.get("services", ())), "usd_per_hour": decided.get("usd_per_hour", 0.0)}
        digests = {
            "inputs": _put(connection, parts, _inputs(found.snapshot_json)),
            "decided": _put(connection, parts, found.decision_json),
        }
        rows.append({**row, **summary, **digests, "changes": "[]"})
    return rows


def _inputs(snapshot_json: str) -> str:
    inputs = {
        "carried": [],
        "planner": "0.1.0",
        "seed": 0,
        "settings": SETTINGS,
        "snapshot": json.loads(snapshot_json),
    }
    return json.dumps(inputs, sort_keys=True, separators=(",", ":"))


def _put(connection: sa.Connection, parts: sa.Table, text: str) -> str:
    raw = text.encode()
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    if connection.execute(sa.select(parts.c.digest).where(parts.c.digest == digest)).one_or_none() is None:
        row = {"digest": digest, "base": None, "size_bytes": len(raw), "body": zstandard.compress(raw, 3)}
        connection.execute(sa.insert(parts), row)
    return digest


def downgrade() -> None:
    raise NotImplementedError("schemas only go forward: restore the backup that was made before the upgrade")
