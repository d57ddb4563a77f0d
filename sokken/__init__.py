"""sokken: a TCP tunnel through WebSockets."""

__version__ = "0.1.0"
