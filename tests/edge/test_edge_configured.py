"""Options of `skerry-edge` from the environment and from a file."""

from pathlib import Path

import pytest

from workers.edge.command import _parser, main
from workers.edge.configured import ConfigurationRefused, options_of, with_configuration


def arguments(*argv: str, **environ: str) -> list[str]:
    return list(with_configuration(argv, {f"SKERRY_EDGE_{key}": value for key, value in environ.items()}, _parser()))


def test_the_environment_gives_the_options_of_the_command_that_runs() -> None:
    given = {"STATE_DIR": "/s", "MEMORY_MIB": "256", "SITE": "oslo"}
    assert arguments("run", **given) == ["run", "--memory-mib=256", "--site=oslo", "--state-dir=/s"]
    assert arguments("status", **given) == ["status", "--state-dir=/s"]
    assert arguments("run", "--state-dir", "/other", "--site=bergen", STATE_DIR="/s", SITE="oslo") == [
        "run", "--state-dir", "/other", "--site=bergen",
    ]  # fmt: skip


def test_without_a_command_and_without_values_nothing_is_put_in() -> None:
    assert arguments("--version", STATE_DIR="/s") == ["--version"]
    assert arguments("run", STATE_DIR="") == ["run"]
    assert arguments() == []


def test_the_file_gives_what_neither_the_line_nor_the_environment_does(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text('state-dir = "/file"\nmemory_mib = 128\ncores = 1.5\nsite = "file"\n')
    wanted = ["run", "--memory-mib=128", "--cores=1.5", "--site=env", "--state-dir", "/line"]
    assert arguments("run", "--state-dir", "/line", CONFIG=str(path), SITE="env") == wanted
    assert arguments("--config", str(path), "run", "--state-dir", "/line", SITE="env") == wanted
    assert arguments("run", "--config", str(path), "--state-dir", "/line", SITE="env") == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("memory = 3\n", "memory: no option --memory: use one of .*memory-mib"),
        ("cores = true\n", "cores: True: give a text or a number"),
        ("[site]\nname = 'x'\n", "site: .*give a text or a number"),
        ("site = oslo\n", "write it as TOML"),
        (None, "No such file or directory: give a file that can be read"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "edge.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationRefused, match=reason):
        arguments("run", CONFIG=str(path))


def test_an_unknown_variable_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("SKERRY_EDGE_STATEDIR", str(tmp_path))
    assert main(["status", "--state-dir", str(tmp_path)]) == 2
    assert "environment variable SKERRY_EDGE_STATEDIR: no option --statedir: use one of" in capsys.readouterr().err


def test_what_the_environment_gives_is_checked_as_on_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("SKERRY_EDGE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("SKERRY_EDGE_MEMORY_MIB", "much")
    with pytest.raises(SystemExit, match="2"):
        main(["run"])
    assert "--memory-mib: 'much': give a whole number above 0" in capsys.readouterr().err
    monkeypatch.delenv("SKERRY_EDGE_MEMORY_MIB")
    assert main(["status"]) == 1
    assert f"no agent has run with --state-dir {tmp_path}" in capsys.readouterr().err


def test_every_command_is_asked_for_its_options() -> None:
    assert {"run", "status", "join"} <= set(options_of(_parser()))
    assert "no-run" not in options_of(_parser())["join"], "a flag without a value is for the line"
