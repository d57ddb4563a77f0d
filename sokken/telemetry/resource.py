"""Who it is that spans and metrics are from, in OpenTelemetry's words.

Used by the two exporters. What ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` say goes before what is
found here.
"""

import os
import socket

from opentelemetry.sdk.resources import OTELResourceDetector, Resource


def make_resource(role: str, version: str) -> Resource:
    """The process of this role."""
    ours = {
        "service.name": f"sokken-{role}",
        "service.version": version,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})
