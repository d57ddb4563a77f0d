"""What holds for all tests."""


def pytest_collection_modifyitems(items):
    """What may take longest comes first, whatever the order of the others: they go on beside it."""
    items.sort(key=_seconds, reverse=True)


def _seconds(item):
    marker = item.get_closest_marker("timeout")
    return marker.args[0] if marker else 0
