"""Searches made from what the documents hold, so that most of them find something; the same for a seed."""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

from fhir_profiles import tables
from fhir_profiles.tables import SearchParam
from tests.oracle import values
from tests.oracle.scan import CannotSay, Oracle
from tests.oracle.values import UCUM

Resource = dict[str, Any]
Pair = tuple[str, str]
PREFIXES = ("", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
# Not a matter of one document's elements, or their meaning is the server's own (words, ages by today's date).
SKIP = frozenset(("_id", "_content", "_query", "_filter", "_in", "_list", "_text", "_has", "_type", "age", "near", "phonetic"))


def escape(text: str) -> str:
    return re.sub(r"([\\,$|])", r"\\\1", text)


class Generator:
    def __init__(self, oracle: Oracle, seed: int) -> None:
        self.oracle, self.random = oracle, Random(seed)
        self._focus: dict[str, Any] = {"resourceType": ""}
        self._used: dict[str, list[SearchParam]] = {}

    def query(self, resource_type: str | None = None) -> tuple[str, list[Pair]]:
        """A type and one to three conditions."""
        kind = resource_type or self.random.choice(sorted(self.oracle.by_type))
        wanted = self.random.choice((1, 1, 1, 2, 2, 3))
        # Conditions that one document meets together, mostly: else nothing would meet three.
        self._focus = self.random.choice(list(self.oracle.by_type[kind].values()))
        return kind, [self.pair(kind) for _ in range(wanted)]

    def filter(self, kind: str, depth: int = 0) -> tuple[str, Callable[[Resource], bool]]:
        """A `_filter` expression and what it means."""
        self._focus = self.random.choice(list(self.oracle.by_type[kind].values()))
        word = self.random.choice(("", "", "and", "or", "not")) if depth < 2 else ""
        if word == "not":
            text, test = self.filter(kind, depth + 1)
            return f"not ({text})", lambda r: not test(r)
        if word:
            (a, left), (b, right) = self.filter(kind, depth + 1), self.filter(kind, depth + 1)
            join = all if word == "and" else any
            return f"({a}) {word} ({b})", lambda r: join(t(r) for t in (left, right))
        return self._comparison(kind)

    def _comparison(self, kind: str) -> tuple[str, Callable[[Resource], bool]]:
        while True:
            name, value = self.pair(kind, depth=9)
            code, _, modifier = name.partition(":")
            param = tables.search_params(kind)[code]
            test = self.oracle.test(kind, name, value)
            if param.type == "token" and not modifier and re.fullmatch(r"[A-Za-z0-9:/._-]+(\|[A-Za-z0-9:/._-]+)?", value):
                return f"{code} eq {value}", test
            if param.type == "string" and modifier in ("", "contains") and "," not in value and "\\" not in value:
                return f"{code} {'co' if modifier else 'sw'} {json.dumps(value, ensure_ascii=False)}", test
            prefixed = re.fullmatch(r"(eq|gt|lt|ge|le|sa|eb)?([0-9T:.+Z-]+)", value)
            if param.type in ("date", "number") and not modifier and prefixed and value != "_id":
                return f"{code} {prefixed[1] or 'eq'} {prefixed[2]}", test

    def used(self, kind: str) -> list[SearchParam]:
        """Parameters of a type that some document has a value for; seldom used ones come up as often as common ones."""
        if kind not in self._used:
            found = []
            for code, param in sorted(tables.search_params(kind).items()):
                if code in SKIP or param.type == "special":
                    continue
                try:
                    if any(self.oracle.nodes(param, r) for r in self.oracle.by_type[kind].values()):
                        found.append(param)
                except CannotSay:
                    continue
            self._used[kind] = found
        return self._used[kind]

    def pair(self, kind: str, depth: int = 0) -> Pair:
        random = self.random
        chance = random.random()
        if depth < 2 and chance < 0.12:
            chain = self._chain(kind, depth)
            if chain:
                return chain
        if depth < 2 and chance < 0.2:
            has = self._has(kind, depth)
            if has:
                return has
        if chance < 0.23:
            ids = sorted(self.oracle.by_type[kind])
            return "_id", ",".join(random.sample(ids, min(len(ids), random.choice((1, 2, 5)))))
        for _ in range(20):
            param = random.choice(self.used(kind))
            if random.random() < 0.06 and param.type != "composite" and param.code != "_lastUpdated":
                return f"{param.code}:missing", random.choice(("true", "false"))
            nodes = self._nodes(kind, param)
            if not nodes:
                continue
            made = self.condition(param, random.choice(nodes))
            if made is not None:
                return param.code + made[0], made[1]
        return "_id", "nothing"

    def _nodes(self, kind: str, param: SearchParam) -> list[Any]:
        if self._focus["resourceType"] == kind and self.random.random() < 0.8:
            return self.oracle.nodes(param, self._focus)
        resources = list(self.oracle.by_type[kind].values())
        for r in self.random.sample(resources, min(len(resources), 30)):
            found = self.oracle.nodes(param, r)
            if found:
                return found
        return [n for r in resources for n in self.oracle.nodes(param, r)]

    def _chain(self, kind: str, depth: int) -> Pair | None:
        usable = [(p, t) for p in self.used(kind) if p.type == "reference" for t in p.targets if t in self.oracle.by_type]
        if not usable:
            return None
        param, target = self.random.choice(usable)
        name, value = self.pair(target, depth + 1)
        if name.startswith("_has") or (len(param.targets) == 1 and self.random.random() < 0.5):
            return f"{param.code}:{target}.{name}", value
        # Without a type the rest must mean the same for every type that has it.
        code = re.split(r"[.:]", name)[0]
        same = {tables.search_params(t)[code].url for t in param.targets if code in tables.search_params(t)}
        plain = len(same) == 1 and code != "_id" and self.random.random() < 0.4
        return (f"{param.code}.{name}" if plain else f"{param.code}:{target}.{name}"), value

    def _has(self, kind: str, depth: int) -> Pair | None:
        usable = [(o, p) for o in sorted(self.oracle.by_type) for p in self.used(o) if p.type == "reference" and kind in p.targets]
        if not usable:
            return None
        other, param = self.random.choice(usable)
        name, value = self.pair(other, depth + 1)
        return f"_has:{other}:{param.code}:{name}", value

    # ---- one condition that has to do with an element

    def condition(self, param: SearchParam, node: Any) -> tuple[str, str] | None:
        """(modifier with its colon, value), or None where the element gives none."""
        if param.type == "composite":
            return self._composite(param, node)
        made = getattr(self, f"_{param.type}")(param, node)
        # Two alternatives now and then; modifiers that change the grammar of the value stand alone.
        if made and made[0] in ("", ":not", ":exact", ":contains") and self.random.random() < 0.2:
            other = getattr(self, f"_{param.type}")(param, node)
            if other and other[0] == made[0]:
                return made[0], f"{made[1]},{other[1]}"
        return made  # type: ignore[no-any-return]

    def _composite(self, param: SearchParam, element: Any) -> tuple[str, str] | None:
        parts = []
        for url, expression in param.components:
            definition = tables.search_param_by_url(url)
            assert definition
            nodes = self.oracle.component_nodes(element, expression)
            made = None
            for _ in range(5):
                made = self.condition(definition, self.random.choice(nodes)) if nodes else None
                if made and not made[0] and not re.search(r"(?<!\\),", made[1]):
                    break
                made = None
            if made is None:
                return None
            parts.append(made[1])
        return "", "$".join(parts)

    def _string(self, param: SearchParam, node: Any) -> tuple[str, str] | None:
        texts = [t for t in values.strings(node) if t.strip()]
        if not texts:
            return None
        random, text = self.random, self.random.choice(texts)
        kind = random.random()
        if kind < 0.2:
            return ":exact", escape(text if random.random() < 0.8 else text.lower())
        if kind < 0.4:
            start = random.randrange(len(text))
            piece = text[start : start + random.randint(2, 6)].strip()
            return (":contains", escape(random.choice((piece, piece.upper())))) if piece else None
        piece = text[: random.randint(1, len(text))].strip()
        return ("", escape(random.choice((text, piece, piece.upper(), values.fold(piece))))) if values.fold(piece) else None

    def _token(self, param: SearchParam, node: Any) -> tuple[str, str] | None:
        random = self.random
        if random.random() < 0.12:
            texts = [t for t in values.token_texts(node) if t.strip()]
            if texts:
                text = random.choice(texts)
                return ":text", escape(text[: random.randint(2, max(2, len(text)))].strip())
        if node.type == "Identifier" and random.random() < 0.15:
            for coding in node.value.get("type", {}).get("coding", ()):
                if coding.get("system") and coding.get("code") and node.value.get("value"):
                    return ":of-type", "|".join(escape(x) for x in (coding["system"], coding["code"], node.value["value"]))
        found = [t for t in values.tokens(node) if t.code]
        if not found:
            return None
        token = random.choice(found)
        system, code = next(iter(sorted(token.systems)), ""), escape(token.code or "")
        if not token.exact and random.random() < 0.15:
            code = random.choice((code.upper(), code.lower()))
        both = f"{escape(system)}|{code}"
        # `system|` only where the element itself holds a system, not where the definition implies one.
        whole = f"{escape(system)}|" if system and node.type in ("Coding", "CodeableConcept", "Identifier") else code
        value = random.choice((code, code, both, both, f"|{code}", whole))
        return (":not" if random.random() < 0.12 else ""), value

    def _reference(self, param: SearchParam, node: Any) -> tuple[str, str] | None:
        random, t = self.random, values.target(node, self.oracle.base)
        if t.identifier is not None and t.identifier.code and random.random() < 0.6:
            system = next(iter(t.identifier.systems), "")
            return ":identifier", f"{escape(system)}|{escape(t.identifier.code)}"
        if t.url is not None:
            return "", escape(t.url) + (f"|{t.version}" if t.version and random.random() < 0.5 else "")
        if t.type is None or t.id is None:
            return None
        local = f"{t.type}/{t.id}"
        return random.choice((("", local), ("", local), ("", t.id), (f":{t.type}", t.id), ("", f"{self.oracle.base}/{local}")))

    def _date(self, param: SearchParam, node: Any) -> tuple[str, str] | None:
        texts = re.findall(r"'(\d{4}(?:-\d\d(?:-\d\d(?:T[0-9:.]+(?:Z|[+-]\d\d:\d\d))?)?)?)'", repr(node.value))
        if not texts:
            return None
        text = self.random.choice(texts)
        cut = self.random.choice((len(text), len(text), 10, 7, 4))
        text = text[:cut] if cut < len(text) else text
        prefix = self.random.choice(PREFIXES)
        # About now is another time when the server reads it.
        return "", ("ge" if prefix == "ap" and param.code == "_lastUpdated" else prefix) + text

    def _number(self, param: SearchParam, node: Any) -> tuple[str, str] | None:
        found = [x for pair in values.numbers(node) for x in pair if x.is_finite()]
        return ("", self._prefixed(str(self.random.choice(found)))) if found else None

    def _quantity(self, param: SearchParam, node: Any) -> tuple[str, str] | None:
        random = self.random
        found = [a for a in values.amounts(node) if a.low.is_finite() or a.high.is_finite()]
        if not found:
            return None
        a = random.choice(found)
        v = a.low if a.low.is_finite() else a.high
        kind = random.random()
        if kind < 0.25 or not (a.code or a.unit):
            return "", self._prefixed(str(v))
        if kind < 0.45 or not (a.system and a.code):
            return "", f"{self._prefixed(str(v))}||{escape(a.code or a.unit or '')}"
        code = a.code
        if a.system == UCUM and code in values.UNITS and random.random() < 0.5:
            base, factor = values.UNITS[code]
            other = random.choice([u for u, (b, _) in values.UNITS.items() if b == base])
            converted = v * factor / values.UNITS[other][1]
            if converted == converted.quantize(converted.normalize()) or len(str(converted)) < 20:
                v, code = converted, other
        return "", f"{self._prefixed(str(v))}|{escape(a.system)}|{escape(code)}"

    def _prefixed(self, number: str) -> str:
        random = self.random
        if random.random() < 0.3 and "E" not in number:
            number = random.choice((number + ("0" if "." in number else ".0"), number.rstrip("0").rstrip(".") if "." in number else number))
        if random.random() < 0.2 and "." in number and "E" not in number:
            number = number[:-1].rstrip(".")
        return random.choice(PREFIXES) + (number if number.strip("-") else "0")

    def _uri(self, param: SearchParam, node: Any) -> tuple[str, str] | None:
        if not isinstance(node.value, str):
            return None
        text = node.value.partition("|")[0] if self.random.random() < 0.5 else node.value
        if "/" in text[8:] and "|" not in text and self.random.random() < 0.3:
            return ":below", escape(text[: text.rindex("/") + 1])
        return "", escape(text)
