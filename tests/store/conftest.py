"""Databases for the store's tests."""

from tests.postgres import postgres_server, postgres_url
from tests.store_urls import store_url

__all__ = ["postgres_server", "postgres_url", "store_url"]
