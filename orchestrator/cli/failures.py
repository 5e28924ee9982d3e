"""How a verb fails: one sentence, one remedy, an exit code."""

from collections.abc import Sequence

FAILED = 1
USAGE = 2
TIMED_OUT = 3
INTERRUPTED = 130  # what shells say of a program ended by Ctrl-C


class CommandFailed(Exception):
    """The verb could not do what was asked. `remedy` says what would help; empty where the message does."""

    exit_code = FAILED

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message, self.remedy = message, remedy
        super().__init__(f"{message}: {remedy}" if remedy else message)


class SeveralFailed(CommandFailed):
    """Several things are wrong, each a sentence with its remedy; nothing was changed."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class Rejected(CommandFailed):
    """The control plane does not accept what it was given."""


class BadUsage(CommandFailed):
    """The command line itself is wrong."""

    exit_code = USAGE


class WaitTimedOut(CommandFailed):
    """What was waited for did not come in time; it may still come."""

    exit_code = TIMED_OUT


class Missing(CommandFailed):
    """No such object."""


class Unreachable(CommandFailed):
    """Nobody answers at the address, for now."""


class ListAgain(CommandFailed):
    """The change log no longer reaches back to where the watch stood."""
