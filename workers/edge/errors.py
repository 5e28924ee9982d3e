"""Why an agent ends, or does not begin.

EdgeError               the process exits with 1 and says the message
├── StateFolderUnusable the state folder cannot be written, or another agent has it
├── AddressRefused      the LAN address is not one to listen on
└── NewerBoot           a later boot of this node is attached: this one must not speak for it any more
"""


class EdgeError(Exception):
    """Root. The message says what failed, on what, and what would fix it."""


class StateFolderUnusable(EdgeError):
    """The agent cannot keep what it must keep."""


class AddressRefused(EdgeError):
    """Plain text is for loopback only, or the port is taken."""


class NewerBoot(EdgeError):
    """The front holds a newer epoch of this node."""
