"""The thin client of the Kubernetes API: nothing else in the operator reads from it, or writes to it."""
