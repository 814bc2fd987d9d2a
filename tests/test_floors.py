"""Imports run one way, floor by floor, without circles (docs/architecture.md); no file names a package registry."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Higher numbers may import lower ones, and parts of their own floor only where they are the same part.
FLOORS = {
    "fhir_profiles": 0,
    "health_hub.fhir": 10,
    "health_hub.store": 20,
    "health_hub.notify": 30, "health_hub.auth": 30, "health_hub.insight": 30, "health_hub.identity": 30,
    "health_hub.booking": 40, "health_hub.access": 40, "health_hub.gateways": 40,
    "health_hub.consult": 55,
    "health_hub.web": 50, "health_hub.rest": 50, "health_hub.sync": 50, "health_hub.demo": 50,
    "health_hub.app": 60,
    "health_hub.commands": 70,
    "health_hub.cli": 80,
}
IMPORTS_NOTHING = ("telemed", "health_hub.settings")


def modules() -> dict[str, Path]:
    found = {}
    for package in ("health_hub", "fhir_profiles", "telemed"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module: str) -> list[tuple[str, bool]]:
    """Own modules that this one imports, and whether it does so when it is loaded itself (not inside a function or for types only)."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, at_load: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((a.name, at_load) for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(package.split(".")[: len(package.split(".")) - child.level + 1]) if child.level else ""
                name = ".".join(filter(None, (base, child.module)))
                for alias in child.names:
                    full = f"{name}.{alias.name}"
                    found.append((full if full in MODULES else name, at_load))
            elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
                walk(child, False)
            else:
                walk(child, at_load and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    walk(ast.parse(path.read_text("utf-8")), True)
    return [(name, at_load) for name, at_load in found if name in MODULES]


def part(module: str) -> str | None:
    """The part of the house a module is in."""
    return next((p for p in (*FLOORS, *IMPORTS_NOTHING) if module == p or module.startswith(p + ".")), None)


def test_every_module_has_a_floor() -> None:
    homeless = [m for m in MODULES if m != "health_hub" and part(m) is None]
    assert not homeless, "say in FLOORS where these stand"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_downwards(module: str) -> None:
    here = part(module)
    if here is None:
        return
    for name, _ in imports(module):
        there = part(name)
        if there is None or there == here or (there == "health_hub.settings" and here != "telemed" and FLOORS.get(here, 0) > 0):
            continue
        assert here not in IMPORTS_NOTHING, f"{module} imports nothing of {name}"
        # telemed is reached by whoever needs it through its own small port.
        if there == "telemed":
            assert FLOORS[here] >= 40, f"{module} -> {name}"
            continue
        assert FLOORS[there] < FLOORS[here], f"{module} -> {name} does not run downwards"


def test_no_circle_between_files() -> None:
    graph = {m: {n for n, at_load in imports(m) if at_load and n != m} for m in MODULES}
    # `from package import submodule` inside the package is resolved to the submodule; a bare package import is its __init__.
    state: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        if state.get(module) == 2:
            return
        assert state.get(module) != 1, " -> ".join((*path[path.index(module):], module))
        state[module] = 1
        for name in sorted(graph[module]):
            visit(name, (*path, module))
        state[module] = 2

    for module in sorted(graph):
        visit(module, ())


def test_no_file_names_a_package_registry() -> None:
    # In pieces, so that this file does not either.
    hosts = [".".join(h) for h in (
        ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("crates", "io"), ("proxy", "golang", "org"),
        ("repo1", "maven", "org"), ("repo", "maven", "apache", "org"), ("deb", "debian", "org"),
    )]
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    named = [
        f"{name}: {host}"
        for name in files if name and (ROOT / name).is_file()
        for text in [(ROOT / name).read_bytes()]
        for host in hosts if host.encode() in text
    ]
    assert not named
