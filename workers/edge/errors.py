"""Why an agent ends, or does not begin.

EdgeError               the process exits with 1 and says the message
├── StateFolderUnusable the state folder cannot be written or read, or another agent has it
├── AddressRefused      the LAN address is not one to listen on
├── NewerBoot           a later boot of this node is attached: this one must not speak for it any more
├── NotJoined           nobody has said which node this is
├── UpgradeFailed       the former version runs, or still runs
└── EnrolmentFailed     no certificate was to be had
    ├── Unreachable     nobody answers there, or not a front of the right authority
    └── Revoked         the key is not, or no longer, one of a node
"""


class EdgeError(Exception):
    """Root. The message says what failed, on what, and what would fix it."""


class StateFolderUnusable(EdgeError):
    """The agent cannot keep what it must keep."""


class AddressRefused(EdgeError):
    """Plain text is for loopback only, or the port is taken."""


class NewerBoot(EdgeError):
    """The front holds a newer epoch of this node."""


class UpgradeFailed(EdgeError):
    """Another version could not be installed, or did not serve as well."""


class NotJoined(EdgeError):
    """The state folder is of no node, and no option says one."""


class EnrolmentFailed(EdgeError):
    """A token or a request was refused."""


class Unreachable(EnrolmentFailed):
    """It may be otherwise a moment later, or at another address."""


class Revoked(EnrolmentFailed):
    """Only a person can mend it."""
