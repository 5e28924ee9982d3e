"""What can be wrong with an identity."""


class IdentityError(Exception):
    """The message says what is wrong, on what, and what would mend it."""


class TokenInvalid(IdentityError):
    """This text is no token."""


class NotEnrolled(IdentityError):
    """There is no identity yet."""


class IdentityUnreadable(IdentityError):
    """A file of the identity is missing, half-written, spoilt, or does not belong to the others."""


class NotTrusted(IdentityError):
    """A certificate is not of the authority, the role or the name that was asked for."""
