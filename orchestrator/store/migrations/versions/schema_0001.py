"""The first tables.

Written out, not taken from `schema.py`: a migration says what was, whatever the tables have become since.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _object_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("kind", NAME, nullable=False),
        sa.Column("namespace", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_wall_s", sa.Double, nullable=False),
    ]


def upgrade() -> None:
    op.create_table("objects", *_object_columns(), sa.PrimaryKeyConstraint("kind", "namespace", "name"))
    op.create_table(
        "changes",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("type", sa.Text, nullable=False),
        *_object_columns(),
    )
    log = op.create_table(
        "log",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(log, [{"id": 1, "sequence": 0, "floor": 0}])
    _create_ledger()


def _create_ledger() -> None:
    op.create_table(
        "claims",
        sa.Column("id", NAME, primary_key=True),
        sa.Column("site", NAME, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("compute_millis", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("claims_by_site", "claims", ["site"])
    op.create_table(
        "decisions",
        sa.Column("id", NAME, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("made_wall_s", sa.Double, nullable=False),
        sa.Column("snapshot_json", sa.Text, nullable=False),
        sa.Column("decision_json", sa.Text, nullable=False),
    )
    op.create_index("decisions_by_number", "decisions", ["number"], unique=True)
    op.create_table(
        "leases",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires_wall_s", sa.Double, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("schemas only go forward: restore the backup that was made before the upgrade")
