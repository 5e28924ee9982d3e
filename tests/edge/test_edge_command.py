import json
from pathlib import Path

import pytest

from workers.edge.command import main
from workers.edge.state import StateFolder

RUN = ["run", "--site", "s1", "--node", "n1", "--front", "127.0.0.1:7071", "--lan", "none", "--state-dir"]


def with_option(tmp_path: Path, option: str, value: str) -> list[str]:
    return [*RUN, str(tmp_path), option, value]  # the last one counts


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["status", "--help"]])
def test_help_has_examples_and_exit_codes(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert "exit codes:" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("skerry-edge 0")


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("--site", "Oslo", "lower-case"),
        ("--node", "", "lower-case"),
        ("--front", "localhost", "HOST:PORT"),
        ("--front", "localhost:70000", "between 0 and 65535"),
        ("--lan", "9001", "HOST:PORT"),
        ("--memory-mib", "0", "above 0"),
        ("--memory-mib", "lots", "above 0"),
        ("--probe-interval-s", "-1", "above 0"),
        ("--probe-interval-s", "nan", "above 0"),
        ("--colour", "red", "unrecognized"),
    ],
)
def test_wrong_usage_names_option_value_and_remedy(
    tmp_path: Path, option: str, value: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(with_option(tmp_path, option, value))
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert option in shown
    assert value in shown
    assert remedy in shown


@pytest.mark.parametrize("argv", [[], ["run"], ["status"], ["fly"]])
def test_missing_arguments_are_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert "usage: skerry-edge" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--lan", "0.0.0.0:9001"), ("--lan", "10.1.2.3:9001")])
def test_plain_text_beyond_loopback_is_refused(
    tmp_path: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(with_option(tmp_path, option, value)) == 1
    assert f"{option} {value}: plain text is for loopback only" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_plain_text_front_beyond_loopback_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(with_option(tmp_path, "--front", "front.example.com:7071")) == 1
    assert "--front front.example.com:7071: plain text" in capsys.readouterr().err


def test_status_of_a_folder_that_no_agent_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--state-dir", str(tmp_path)]) == 1
    assert "no agent has run" in capsys.readouterr().err


def test_status_says_if_the_agent_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = StateFolder(tmp_path)
    replica = {"replica": "r1", "phase": "failed", "reason": "no model"}
    folder.save_status({"node": "n1", "site": "s1", "link": "attached", "held_revision": 4, "replicas": [replica]})
    assert main(["status", "--state-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "node n1 of site s1: running, attached" in shown
    assert "replica r1: failed (no model)" in shown
    folder.close()
    assert main(["status", "--state-dir", str(tmp_path), "-o", "json"]) == 1
    status = json.loads(capsys.readouterr().out)
    assert (status["agent"], status["link"], status["held_revision"]) == ("not running", "not attached", 4)
