"""Every sentence is there in both languages, and every key that a page or a template asks for is one of them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from jinja2 import Environment, nodes

from health_hub.access.gate import EMERGENCY
from health_hub.auth.model import ROLES, Grant
from health_hub.auth.signin import Reason
from health_hub.web import account, own_passkeys, refusals, scope_words, texts, type_words
from health_hub.web.texts import LANGUAGES, TEXTS

WEB = Path(texts.__file__).parent
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
SOURCES = sorted(p for p in WEB.glob("*.py") if p.name != "texts.py")
PLACE = re.compile(r"\{(\w*)\}")
ERRORS = ("400", "403", "404", "405", "413", "429", "500", "form", "authorize", "ended", "kept", "kept.role", "kept.gone", "kept.away")
# What stands in for the part of a key that is known only when a page is made. A new kind of key is to be listed here with all it may be.
PARTS = {
    "role.*": ROLES,
    "gender.*": ("male", "female", "other", "unknown"),
    "consent.*": ("data", "more"),
    "error.*": ERRORS,
    "error.*.lead": ERRORS,
    "access.action.*": ("read", "write", "delete"),
    "why.*": ("none", "TREAT", "PATRQT", *sorted(EMERGENCY)),
    "may.*": ("read", "add", "change", "delete"),
    "scope.of.*": ("patient", "user", "system"),
    "*.about": [f"scope.{s}" for s in (*scope_words.FIXED, "openid", "profile", "fhirUser", "offline_access", "online_access")],
    "weekday.*": [str(n) for n in range(7)],
    "month.*": [str(n) for n in range(1, 13)],
    "*.one": ("days", "hours", "minutes", "seconds"),
    "grant.*": get_args(Grant),
    "admin.accounts.*": ("disabled.done", "enabled.done", "reset.done", "added"),
    "admin.clients.*": ("disabled.done", "enabled.done"),
}


def test_every_text_has_both_languages_and_the_same_places_to_fill() -> None:
    assert LANGUAGES == ("vi", "en")
    for key, both in TEXTS.items():
        assert len(both) == 2, key
        assert all(t.strip() == t and t for t in both), key
        # A month's name is written out in English alone.
        vi, en = (set(PLACE.findall(t)) for t in both)
        assert vi == en or key == "date.long", key
        assert not re.search(r"[<>&]", "".join(both)), f"{key}: texts are no markup"


def test_vietnamese_is_written_as_one_writes_it() -> None:
    same = {key for key, (vi, en) in TEXTS.items() if vi == en}
    assert same <= {"and", "scope.where"}, "a text without its translation"
    for key, (vi, en) in TEXTS.items():
        assert not re.search(r"[ăâđêôơưàáảãạèéẻẽẹìíỉĩịòóỏõọùúủũụỳýỷỹỵ]", en, re.IGNORECASE), f"{key}: the languages are swapped"
        assert "  " not in vi + en, key


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda p: p.name)
def test_every_key_of_a_template_exists(file: Path) -> None:
    tree = Environment(autoescape=True).parse(file.read_text("utf-8"))
    asked = [key for call in tree.find_all(nodes.Call) if _name(call.node) in ("t", "told") for key in _template_keys(call.args[0])]
    _exist(file, asked)


@pytest.mark.parametrize("file", SOURCES, ids=lambda p: p.name)
def test_every_key_of_a_page_exists(file: Path) -> None:
    asked: list[str] = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if called in ("text", "told") and node.args:
            asked += _python_keys(node.args[0])
        if called == "PageError" and len(node.args) > 1:
            asked += [f"error.{k}" for k in _python_keys(node.args[1])]
        if called == "error" and len(node.args) > 2 and file.name != "site.py":
            asked += [f"error.{k}" for k in _python_keys(node.args[2])]
    _exist(file, asked)


@pytest.mark.parametrize("kind", PARTS)
def test_keys_made_of_parts_exist_whatever_the_part(kind: str) -> None:
    for part in PARTS[kind]:
        assert kind.replace("*", str(part)) in TEXTS


def test_every_refusal_to_sign_in_has_words() -> None:
    assert set(refusals._KEYS) == set(get_args(Reason)) - {"wait"}, "`wait` says how long"
    assert set(refusals._KEYS.values()) <= set(TEXTS)


def test_every_answer_to_what_was_done_has_words() -> None:
    for said in (account.SAID, own_passkeys._SAID):
        assert said
        assert set(said.values()) <= set(TEXTS)


def test_every_text_is_used() -> None:
    """Asked for by a page or a template, word for word, as one of PARTS, or by a name that is looked up in TEXTS."""
    written = "".join(p.read_text("utf-8") for p in (*SOURCES, *TEMPLATES))
    made = {kind.replace("*", str(part)) for kind, parts in PARTS.items() for part in parts}
    named = ("scope.", "category.", "parameter.", "error.", "why.")
    unused = [key for key in TEXTS if f'"{key}"' not in written and key not in made and not key.startswith(named)]
    assert unused == []


def test_every_status_a_page_may_end_with_has_words() -> None:
    for status in re.findall(r"PageError\((\d+)", "".join(p.read_text("utf-8") for p in SOURCES)):
        assert status in ERRORS


def test_resource_types_have_words_in_both_languages() -> None:
    for name, (vi, en) in type_words.TYPES.items():
        assert vi
        assert en
        assert vi != en, name


def _name(node: nodes.Node) -> str:
    return node.name if isinstance(node, nodes.Name) else ""


def _template_keys(node: nodes.Node) -> Iterator[str]:
    """Every key the expression may be; `*` for a part that is known only later."""
    if isinstance(node, nodes.Const):
        yield str(node.value)
    elif isinstance(node, nodes.CondExpr):
        yield from _template_keys(node.expr1)
        assert node.expr2 is not None
        yield from _template_keys(node.expr2)
    elif isinstance(node, nodes.Concat):
        yield "".join(str(n.value) if isinstance(n, nodes.Const) else "*" for n in node.nodes)
    elif _name(node) != "said":  # a page's answer to what was done: see its test
        raise AssertionError(f"a key that cannot be looked up before the page is made: {node!r}")


def _python_keys(node: ast.expr) -> Iterator[str]:
    """As above; a name stands for a key that the code has looked up in TEXTS, or tests above look at."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _python_keys(node.body)
        yield from _python_keys(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(n.value) if isinstance(n, ast.Constant) else "*" for n in node.values)


def _exist(file: Path, asked: list[str]) -> None:
    for key in asked:
        assert key in (PARTS if "*" in key else TEXTS), f"{file.name} asks for {key!r}"
