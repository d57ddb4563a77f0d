"""What the process says of itself. Logs for now; the only package that imports structlog."""
