"""What an API server (1.34) had of objects that were applied and then changed by some people, as it was recorded.

Somebody had scaled the Deployment, set a variable in it and restarted it, and added a port to the Service.
"""

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[1] / "unit" / "operator" / "recorded"


def recorded(kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was rendered, and what was there: of ``deployment`` or ``service``."""
    pair = json.loads((RECORDED / f"{kind}.json").read_text())
    return pair["desired"], pair["live"]
