"""The root of every error that sokken raises on purpose.

Errors carry plain values; ``str(error)`` is one line that a user can act on. Foreign exceptions
(OSError, ssl.SSLError, pydantic's) are translated once, at the edge that meets them.
"""


class SokkenError(Exception):
    """Anything that went wrong and that sokken knows about."""


class UsageError(SokkenError):
    """The command line or a variable is malformed; the process exits with 2."""


class ConfigurationError(SokkenError):
    """Well-formed, but it cannot work here (a port in use, an unreadable file); the process exits with 3."""
