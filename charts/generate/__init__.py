"""Makes what is made from the chart's values.yaml: its schema, its README, and the manifests in k8s/.

Run by ``make docs`` and ``make manifests``. It is no part of the chart, and of no program.
"""
