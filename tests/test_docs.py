"""The documents say what the program does."""

import importlib.util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def _build() -> Any:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_line_is_described_as_it_is() -> None:
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == _build().reference(), "make docs"


def test_every_link_leads_somewhere() -> None:
    assert not _build().broken_links()


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    for name in ("requirements.in", "requirements-dev.in"):
        for line in (ROOT / name).read_text("utf-8").splitlines():
            package = line.split(">=")[0].strip()
            if package and not package.startswith(("#", "-")):
                assert package in reasons, package
