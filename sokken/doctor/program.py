"""`sokken doctor`: from settings to reports, one URL after the other.

Called by cli/doctor, which shows them. It opens no log, listens nowhere, and changes nothing.
"""

import asyncio
from collections.abc import Callable, Sequence

from sokken.doctor.report import Finding, Report
from sokken.doctor.walk import Options, Progress, Walk
from sokken.protocol.address import Forward
from sokken.settings import ClientSettings
from sokken.telemetry import logs
from sokken.transport.plane import Plane

Begin = Callable[[Report], Callable[[Finding], object]]
"""Called with each report at its beginning; gives what is called with its findings as they are made."""


def run(settings: ClientSettings, options: Options, begin: Begin, progress: Progress) -> list[Report]:
    """Examine every forward of the settings."""
    logs.silence()
    return asyncio.run(_examine(settings, settings.forwards, options, begin, progress))


async def _examine(
    settings: ClientSettings, forwards: Sequence[Forward], options: Options, begin: Begin, progress: Progress
) -> list[Report]:
    plane = Plane(asyncio.get_running_loop(), masks=True, message_bytes=settings.max_message_bytes)
    reports = []
    for forward in forwards:
        report = Report("" if not forward.listen.port else forward.name, str(forward.url))
        tell = begin(report)

        def keep(finding: Finding, report: Report = report, tell: Callable[[Finding], object] = tell) -> None:
            report.findings.append(finding)
            tell(finding)

        await Walk(plane, settings, forward.url, options, keep, progress).run()
        reports.append(report)
    plane.close()
    return reports
