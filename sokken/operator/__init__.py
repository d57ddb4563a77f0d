"""The operator: `Tunnel` objects of a Kubernetes cluster become running clients, and a status that tells the truth."""
