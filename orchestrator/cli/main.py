"""The entry point: runs a verb, and turns whatever goes wrong into one line and an exit code."""

import os
import sys
from collections.abc import Sequence

from orchestrator.cli.failures import FAILED, INTERRUPTED, CommandFailed, SeveralFailed
from orchestrator.errors import InvalidRequest, OrchestratorError

PROGRAM = "skerry"
MOST_TOLD = 100  # problems; more are not read


def version() -> str:
    from importlib import metadata

    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:  # run from a source folder that was never installed
        return "0.0.0"


def _run(arguments: Sequence[str]) -> int:
    from orchestrator.cli.app import command

    try:
        command()(args=list(arguments), prog_name=PROGRAM)
    except SystemExit as end:
        code = end.code
    else:
        code = 0
    sys.stdout.flush()  # here, where a reader that went away is no surprise, and not when the interpreter ends
    return code if isinstance(code, int) else FAILED if code else 0


def _complain(message: str) -> None:
    print(f"{PROGRAM}: {message}", file=sys.stderr)


def _told(err: CommandFailed | OrchestratorError) -> str:
    """One line, or one for each of several problems. Whatever else holds a line break is put on one line."""
    if isinstance(err, SeveralFailed):
        problems = err.problems
    else:
        problems = tuple(one.sentence for one in err.problems) if isinstance(err, InvalidRequest) else (str(err),)
    lines = [" ".join(one.split("\n")) for one in problems]
    if len(lines) == 1:
        return lines[0]
    more = [f"and {len(lines) - MOST_TOLD} more"] if len(lines) > MOST_TOLD else []
    return "\n  ".join([f"{len(lines)} problems, nothing was changed:", *lines[:MOST_TOLD], *more])


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong usage, 3 a wait timed out, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [one for one in arguments if one != "--debug"]  # accepted at any place
    if arguments == ["--version"]:
        print(f"{PROGRAM} {version()}")
        return 0
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `skerry get ... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (CommandFailed, OrchestratorError) as err:
        if debug:
            raise
        _complain(_told(err))
        return err.exit_code if isinstance(err, CommandFailed) else FAILED
    except ModuleNotFoundError as err:
        if debug:
            raise
        _complain(f"{err.name} is not installed: this verb needs more parts: pip install 'skerry[cloud]'")
        return FAILED
    except Exception as err:
        if debug:
            raise
        _complain(f"unexpected {type(err).__name__}: {err}: this is a bug; repeat with --debug to see where")
        return FAILED
