"""Keeps tests marked `xdist_group` on one worker, because they share a server.

pytest-xdist 3.8 hands the mark to its scheduler in `_nodeid`, which pytest 9.2 no longer reads: without this every test is a group
of its own. To be dropped when pytest-xdist does it by itself again.
"""

from typing import Any

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        grouped = getattr(item, "_nodeid", item.nodeid)
        if grouped != item.nodeid and hasattr(item, "_id"):
            item._id = type(item._id).parse(grouped)
