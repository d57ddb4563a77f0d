"""The operator: Tunnel objects of a Kubernetes cluster become running clients."""
