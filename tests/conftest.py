"""What every test shares."""

import os

pytest_plugins = ["tests.skips", "tests.groups", "tests.databases", "tests.keys"]

# Servers that tests start have no relay beside them unless a test asks for one: it would be a process and a UDP port each.
os.environ.setdefault("HEALTH_HUB_RELAY", "0")
