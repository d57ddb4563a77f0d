"""The command line: from arguments to one running program and an exit code; nothing below imports it."""
