"""The verbs that need no control plane: help, version, completion, backup, restore, settings of up and front."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.app import command
from orchestrator.cli.failures import BadUsage
from orchestrator.cli.output import age_text, bytes_text, columns
from orchestrator.cli.running import settings_with
from orchestrator.errors import InvalidRequest
from orchestrator.model.stored import Batch, Key, Owner, Put
from orchestrator.store import open_store
from tests.cli.conftest import Skerry

ROOT = Path(__file__).parents[2]
HEAVY = ("ray", "tensorflow", "pydantic", "rich", "grpc", "yaml", "sqlalchemy", "numpy", "matplotlib")


def verbs() -> list[tuple[str, ...]]:
    tree = command()
    found: list[tuple[str, ...]] = []
    for name, verb in tree.commands.items():  # type: ignore[attr-defined]
        inner = getattr(verb, "commands", None)
        found += [(name, *rest) for rest in ([(one,) for one in inner] if inner else [()])]
    return found


@pytest.mark.parametrize("verb", verbs(), ids=" ".join)
def test_every_verb_has_help_with_examples(skerry: Skerry, verb: tuple[str, ...]) -> None:
    ran = skerry(*verb, "--help")
    assert ran.code == 0
    assert f"Examples:\n    skerry {' '.join(verb)}" in ran.out or f"skerry {verb[0]}" in ran.out.split("Examples:")[1]


def test_the_version(skerry: Skerry) -> None:
    ran = skerry("--version")
    assert (ran.code, ran.out.split()[0], ran.err) == (0, "skerry", "")


def test_no_verb_shows_the_verbs(skerry: Skerry) -> None:
    ran = skerry()
    assert ran.code == 2
    assert "Commands:" in ran.out + ran.err


@pytest.mark.real
@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("get", "--help"), ("completion", "bash")], ids=" ".join
)
def test_help_and_version_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys; from orchestrator.cli.main import main; code = main();"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules]); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.real
def test_the_bash_script_completes_verbs_kinds_and_options(tmp_path: Path, skerry: Skerry) -> None:
    program = tmp_path / "skerry"
    python = "import sys; from orchestrator.cli.main import main; sys.exit(main())"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{python}' \"$@\"\n")
    program.chmod(0o755)
    script = skerry("completion", "bash").out
    for words, wanted in (
        (["skerry", "des"], "describe"),
        (["skerry", "get", "mod"], "modelservices"),
        (["skerry", "get", "dec"], "decisions"),
        (["skerry", "rep"], "replay"),
        (["skerry", "model", "pu"], "push"),
    ):
        ask = (
            f"{script}\nCOMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
            'complete -p skerry >/dev/null && _skerry_completion skerry; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        ran = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, timeout=60, env=environ)
        assert wanted in ran.stdout.split(), (words, ran)


@pytest.mark.parametrize(("shell", "mark"), [("zsh", "#compdef skerry"), ("fish", "complete --command skerry")])
def test_scripts_for_other_shells(skerry: Skerry, shell: str, mark: str) -> None:
    assert mark in skerry("completion", shell).out


@pytest.mark.real
def test_backup_and_restore(skerry: Skerry, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    store = open_store(url)
    key = Key("Zone", "", "plant")
    store.commit(Batch(writes=(Put(key, Owner.COMMAND, 0, {"region": "r"}),)))
    store.close()
    file = tmp_path / "monday.db"
    assert skerry("backup", str(file), "--store", url).out == f"{file} written\n"
    again = skerry("backup", str(file), "--store", url)
    assert (again.code, "exists already" in again.err) == (1, True)
    ran = skerry("restore", str(file), "--state-dir", str(tmp_path / "new"))
    assert (ran.code, ran.out) == (0, f"restored from {file}\n"), ran.err
    restored = open_store(f"sqlite:///{tmp_path / 'new' / 'store.db'}")
    assert restored.get(key).spec == {"region": "r"}
    restored.close()
    taken = skerry("restore", str(file), "--state-dir", str(tmp_path / "new"))
    assert (taken.code, "force" in taken.err) == (1, True)
    assert skerry("restore", str(file), "--state-dir", str(tmp_path / "new"), "--force").code == 0
    (tmp_path / "junk").write_bytes(os.urandom(5_000))
    junk = skerry("restore", str(tmp_path / "junk"), "--store", f"sqlite:///{tmp_path / 'b.db'}")
    assert (junk.code, junk.err.count("\n")) == (1, 1)


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SKERRY_HOME", str(tmp_path))
    monkeypatch.setenv("SKERRY_ZONE", "from-environment")
    settings = settings_with(region="r", zone=None, control_address="127.0.0.1:1", state_dir=None)
    assert (settings.region, settings.zone, settings.control_address) == ("r", "from-environment", "127.0.0.1:1")
    assert settings.state_dir == tmp_path
    with pytest.raises(InvalidRequest, match="--gateway"):
        settings_with(gateway_address="0.0.0.0:8001", plain_link=True)


@pytest.mark.parametrize("option", ["--control", "--gateway", "--link", "--enrolment"])
def test_plain_text_stays_on_loopback(skerry: Skerry, option: str) -> None:
    ran = skerry("up", option, "0.0.0.0:7070", "--plain-link")
    assert (ran.code, ran.err.startswith(f"skerry: {option}: '0.0.0.0:7070'")) == (1, True)
    assert "plain text is for loopback only" in ran.err


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0s"), (7, "7s"), (130, "2m10s"), (4_000, "66m"), (11_100, "3h5m"), (1e6, "11d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_sizes_and_columns() -> None:
    assert [bytes_text(size) for size in (5, 15_360, 5 << 20, 3 << 30)] == ["5 B", "15.0 KiB", "5.0 MiB", "3.0 GiB"]
    assert columns(("A", "LONG"), [("abc", "1")]) == "A     LONG\nabc   1"


def test_usage_failures_are_code_2() -> None:
    assert BadUsage("x").exit_code == 2
