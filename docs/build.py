"""Writes docs/cli.md from the program itself and follows every link in the documents; status 1 and a list where one leads nowhere."""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from health_hub.cli import parser  # noqa: E402
from health_hub.settings import PREFIX, Settings  # noqa: E402


def commands(p: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command that can be run."""
    inner = [a for a in p._actions if isinstance(a, argparse._SubParsersAction)]
    if not inner:
        yield p
    for action in inner:
        for sub in action.choices.values():
            yield from commands(sub)


def reference() -> str:
    """docs/cli.md."""
    out = ["# Command line", "", "Written by `make docs` from the program.", ""]
    for p in commands(parser()):
        out += [f"## {p.prog}", "", *([p.description, ""] if p.description else []), "| | |", "| --- | --- |"]
        out += [f"| `{_written(a)}` | {a.help} |" for a in p._actions if a.dest != "help"]
        out.append("")
    out += ["## Settings", "", "Each is a variable of the environment; options of a command win over it.", ""]
    out += ["| variable | default | what |", "| --- | --- | --- |"]
    for f in fields(Settings):
        default = ",".join(f.default) if isinstance(f.default, tuple) else str(f.default)
        out.append(f"| `{PREFIX}{f.name.upper()}` | {f'`{default}`' if default else ''} | {f.metadata['help']} |")
    return "\n".join(out) + "\n"


def _written(action: argparse.Action) -> str:
    """An option as one types it."""
    value = "" if action.nargs == 0 else action.metavar or "|".join(action.choices or ()) or action.dest.upper()
    words = f"{'/'.join(action.option_strings)} {value}".strip()
    return f"{words}..." if action.nargs == "+" else words.replace("|", "\\|")


def broken_links() -> list[str]:
    """Relative links of the documents to files that are not there."""
    out = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)):
            if "://" not in link and not (page.parent / link).exists():
                out.append(f"{page.relative_to(ROOT)}: {link}")
    return out


def main() -> int:
    (ROOT / "docs" / "cli.md").write_text(reference(), "utf-8")
    broken = broken_links()
    print("\n".join(broken) or "docs/cli.md written; every link leads somewhere")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
