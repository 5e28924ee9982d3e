"""Options of `skerry-edge` from the environment and from a file: what a service manager sets, and nobody types.

`SKERRY_EDGE_STATE_DIR=/x` stands for `--state-dir /x`; in the TOML file that `--config` or SKERRY_EDGE_CONFIG names it
is `state-dir = "/x"`. What is given on the command line counts first, then the environment, then the file.
"""

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

PREFIX = "SKERRY_EDGE_"
_FILE = f"{PREFIX}CONFIG"


class ConfigurationRefused(Exception):
    """The message names the place, the key, and the remedy."""


def with_configuration(
    argv: Sequence[str], environ: Mapping[str, str], parser: argparse.ArgumentParser
) -> Sequence[str]:
    """The arguments, with those options put in that the environment and the file give. Raises ConfigurationRefused.

    Of one command's options only: what another command takes is no error, so that one file serves all of them.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    named, rest = first.parse_known_args(list(argv))
    commands = options_of(parser)
    if not rest or rest[0] not in commands:
        return rest
    path = named.config or (Path(environ[_FILE]) if environ.get(_FILE) else None)
    known = frozenset[str]().union(*commands.values())
    values = {**(_file_values(path, known) if path else {}), **_environment_values(environ, known)}
    put_in: list[str] = []
    for name, value in values.items():
        if name in commands[rest[0]] and not _is_given(name, rest):
            put_in.append(f"--{name}={value}")
    return [rest[0], *put_in, *rest[1:]]


def options_of(parser: argparse.ArgumentParser) -> dict[str, frozenset[str]]:
    """Of each command the long options that take a value. argparse has no public way to ask."""
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {
        name: frozenset(
            text[2:]
            for action in command._actions
            for text in action.option_strings
            if text.startswith("--") and action.nargs != 0
        )
        for name, command in commands.choices.items()
    }


def _is_given(name: str, arguments: Sequence[str]) -> bool:
    return any(each == f"--{name}" or each.startswith(f"--{name}=") for each in arguments)


def _environment_values(environ: Mapping[str, str], known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in sorted(environ):
        if not key.startswith(PREFIX) or key == _FILE or not environ[key]:
            continue
        name = key.removeprefix(PREFIX).lower().replace("_", "-")
        if name not in known:
            raise ConfigurationRefused(f"environment variable {key}: no option --{name}: {_remedy(known)}")
        found[name] = environ[key]
    return found


def _file_values(path: Path, known: frozenset[str]) -> dict[str, str]:
    try:
        table = tomllib.loads(path.read_text())
    except OSError as err:
        raise ConfigurationRefused(f"--config {path}: {err.strerror}: give a file that can be read") from err
    except ValueError as err:
        raise ConfigurationRefused(f'--config {path}: {err}: write it as TOML, for instance site = "oslo"') from err
    found: dict[str, str] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in known:
            raise ConfigurationRefused(f"--config {path}: {key}: no option --{name}: {_remedy(known)}")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigurationRefused(f"--config {path}: {key}: {value!r}: give a text or a number")
        found[name] = str(value)
    return found


def _remedy(known: frozenset[str]) -> str:
    return f"use one of {', '.join(sorted(known))}"
