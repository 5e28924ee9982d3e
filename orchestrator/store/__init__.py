"""Desired state on SQLite or PostgreSQL: objects, their change log, claims, decisions, leases.

This room exists so that nothing else has to know a database: no SQLAlchemy error, row or connection leaves it. It keeps
what must outlive every process; heartbeats and link samples never come here.
"""

from orchestrator.store.backups import restore
from orchestrator.store.objects import check_write
from orchestrator.store.sql import SqlStore, open_store

__all__ = ["SqlStore", "check_write", "open_store", "restore"]
