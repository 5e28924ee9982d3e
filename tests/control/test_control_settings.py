"""Settings go to child processes whole, and a wrong one is named."""

from pathlib import Path

import pytest

from orchestrator.errors import InvalidRequest
from orchestrator.settings import is_loopback, loopback, settings_from


def test_a_child_reads_the_same_settings_back(tmp_path: Path) -> None:
    environ = {"SKERRY_HOME": str(tmp_path), "SKERRY_DECISIONS_KEPT": "7", "SKERRY_DECISIONS_KEPT_DAYS": "0.5"}
    settings = settings_from(environ)
    assert (settings.decisions_kept, settings.decisions_kept_days) == (7, 0.5)
    assert settings_from(settings.environ()) == settings


@pytest.mark.parametrize("name", ["SKERRY_DECISIONS_KEPT", "SKERRY_DECISIONS_KEPT_DAYS"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf"])
def test_a_retention_that_keeps_nothing_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{name}: '{value}': give a number above 0"):
        settings_from({name: value})


@pytest.mark.parametrize(
    "address", ["127.evil.example:7070", "127.0.0.1.evil.example:7070", "localhost.example:1", "10.0.0.1:1"]
)
def test_a_name_that_looks_like_loopback_gets_no_plain_text(address: str) -> None:
    assert not is_loopback(address)
    with pytest.raises(InvalidRequest, match="plain text is for loopback only"):
        loopback("--control", address)


@pytest.mark.parametrize("address", ["127.0.0.1:7070", "127.9.8.7:1", "localhost:0", "[::1]:7070", "::1:7070"])
def test_loopback_is_what_leads_nowhere_else(address: str) -> None:
    assert loopback("--control", address) == address
