"""Regular expressions of matches() and replaceMatches(): bounded in time whatever the pattern and the text.

Python's engine backtracks. The number of ways a pattern can divide a text is counted before it runs; where that is too many the
pattern is run by set of states instead (nfa.py), which takes one step a character and state and never backtracks.
"""

import re
import warnings
from collections.abc import Callable
from functools import lru_cache

# CPython's own parser of patterns; private names, so test_fhirpath_regex.py holds them.
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from fhir_profiles.fhirpath.errors import execution, limit
from fhir_profiles.fhirpath.nfa import Unsupported, automaton

MAX_PATTERN = 2_000
# Ways tried a second: about 10 million; this is at most 0.2 s.
MAX_WAYS = 2_000_000

_ATOMIC = op.ATOMIC_GROUP
_REPEATS = frozenset((op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT))


def _ways(tree: Any, n: int) -> float:
    """An upper bound of the ways `tree` can match within `n` characters."""
    total = 1.0
    for code, argument in tree:
        if code in _REPEATS:
            least, most, body = argument
            inside = _ways(body, n)
            most = min(int(most), n)
            times = max(most - min(least, most), 0) + 1
            if inside > 1:
                total *= inside**most if most < 64 else float("inf")
            total *= times
        elif code is op.BRANCH:
            total *= sum(_ways(b, n) for b in argument[1])
        elif code is op.SUBPATTERN:
            total *= _ways(argument[-1], n)
        elif code is _ATOMIC:
            total *= _ways(argument, n)
        elif code in (op.ASSERT, op.ASSERT_NOT):
            total *= _ways(argument[1], n)
        elif code is op.GROUPREF_EXISTS:
            total *= sum(_ways(b, n) for b in argument[1:] if b is not None)
        if total > MAX_WAYS:
            return float("inf")
    return total


@lru_cache(maxsize=64)
def _parsed(pattern: str, flags: str) -> tuple["re.Pattern[str]", Any]:
    if len(pattern) > MAX_PATTERN:
        raise limit(f"a regular expression of more than {MAX_PATTERN} characters")
    bits = re.DOTALL  # N1: single line mode, `.` matches a line's end
    for flag in flags:
        if flag not in "im":
            raise execution(f"regular expression flags are i and m, not {flag!r}")
        bits |= re.IGNORECASE if flag == "i" else re.MULTILINE
    try:
        with warnings.catch_warnings():
            # "possible nested set": what a later Python may read differently is no concern of a client's.
            warnings.simplefilter("ignore")
            return re.compile(pattern, bits), parser.parse(pattern, bits)
    except (re.error, OverflowError, RecursionError) as e:
        raise execution(f"not a regular expression: {e}") from None


def _affordable(tree: Any, text: str) -> bool:
    n = len(text)
    return _ways(tree, n) * (n + 1) <= MAX_WAYS


@lru_cache(maxsize=64)
def matcher(pattern: str, flags: str = "") -> Callable[[str], bool]:
    """Whether a part of a text matches (N1: partial; `^` and `$` bind it to the whole)."""
    compiled, tree = _parsed(pattern, flags)
    search = compiled.search
    slow: list[Callable[[str], bool]] = []
    # Texts up to this length need no count: most patterns are simple and most texts short.
    safe = 0
    while safe < 65536 and _ways(tree, max(safe * 2, 16)) * (max(safe * 2, 16) + 1) <= MAX_WAYS:
        safe = max(safe * 2, 16)

    def run(text: str) -> bool:
        if len(text) <= safe or _affordable(tree, text):
            return search(text) is not None
        if not slow:
            try:
                # The parsed flags, since a pattern may begin with its own: `(?i)`.
                slow.append(automaton(tree, bool(tree.state.flags & re.IGNORECASE), bool(tree.state.flags & re.MULTILINE)))
            except Unsupported as e:
                raise limit(f"the regular expression may take too long on this text, and {e} has no other way") from None
        return slow[0](text)

    return run


@lru_cache(maxsize=64)
def replacer(pattern: str, flags: str = "") -> Callable[[str, str], str]:
    """Replaces what matches; `$1` or `\\1` in the substitution is a group."""
    compiled, tree = _parsed(pattern, flags)

    def run(text: str, substitution: str) -> str:
        if not _affordable(tree, text):
            raise limit("the regular expression may take too long on this text")
        if len(substitution) * (len(text) + 1) > 1_000_000:
            raise limit("replaceMatches() would build too long a text")
        template = re.sub(r"\\?\$(\d+|\{\w+\})", _group, substitution)
        try:
            return compiled.sub(template, text)
        except (re.error, IndexError) as e:
            raise execution(f"not a substitution: {e}") from None

    return run


def _group(match: "re.Match[str]") -> str:
    name = match[1].strip("{}")
    return match[0] if match[0][0] == "\\" and not name.isdigit() else f"\\g<{name}>"
