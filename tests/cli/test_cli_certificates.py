"""Certificates for people and services, and as whom the command speaks off loopback."""

from pathlib import Path

import pytest

from tests.api.fake_control import RunningControl
from tests.cli.conftest import Skerry
from workers.identity.folder import IdentityFolder

pytestmark = pytest.mark.real  # a gRPC server on loopback in each test


def test_a_key_is_made_here_and_certified_there(skerry: Skerry, running: RunningControl, tmp_path: Path) -> None:
    out = tmp_path / "line-7"
    ran = skerry("certificate", "create", "line-7", "--role", "service", "--out", str(out), "--host", "line-7.lan")
    assert ran.out.startswith(f"service line-7: {out}, until 2")
    held = IdentityFolder(out).held()
    assert str(held.identity) == "service line-7"
    assert (out / "key.pem").stat().st_mode & 0o077 == 0
    again = skerry("certificate", "create", "line-7", "--role", "service", "--out", str(out))
    assert (again.code, IdentityFolder(out).held().fingerprint) == (0, held.fingerprint)


def test_a_spoilt_key_is_not_replaced(skerry: Skerry, running: RunningControl, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("half")
    ran = skerry("certificate", "create", "anna", "--role", "operator", "--out", str(tmp_path))
    assert (ran.code, "key.pem: no private key can be read" in ran.err) == (1, True)
    assert (tmp_path / "key.pem").read_text() == "half"


def test_off_loopback_a_certificate_is_asked_for(
    skerry: Skerry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SKERRY_IDENTITY", str(tmp_path / "none"))
    ran = skerry("status", "--control", "192.0.2.1:7070")
    assert (ran.code, "skerry certificate create NAME --role operator" in ran.err) == (1, True)
