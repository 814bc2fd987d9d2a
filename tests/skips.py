"""Says at the end what was skipped and how to get it; with HEALTH_HUB_REQUIRE_ALL=1 a skip is a failure."""

import os
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

REQUIRE_ALL = os.environ.get("HEALTH_HUB_REQUIRE_ALL") == "1"
# What a skip reason names -> how to have it.
INSTALL = {
    "postgresql": "apt-get install postgresql",
    "chromium": "apt-get install chromium",
    "coturn": "apt-get install coturn",
    "node": "apt-get install nodejs npm",
    "java": "apt-get install default-jdk-headless maven",
    "HEALTH_HUB_DATA": "point HEALTH_HUB_DATA at the folder with the Synthea archives and hl7.fhir.r4.core.tgz",
}


def _required(report: Any) -> Any:
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and HEALTH_HUB_REQUIRE_ALL=1 lets nothing be skipped: {_reason(report)}"
    return report


def _reason(report: Any) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _required((yield))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = Counter(_reason(r) for r in terminalreporter.stats.get("skipped", []))
    if not reasons:
        return
    terminalreporter.section("skipped")
    for reason, times in reasons.most_common():
        terminalreporter.line(f"{times:5} {reason}")
        for name, how in INSTALL.items():
            if name.lower() in reason.lower():
                terminalreporter.line(f"      -> {how}")
