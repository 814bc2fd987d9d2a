"""Tokens to a syntax tree, with FHIRPath's precedence."""

from decimal import Decimal

from fhir_profiles.fhirpath import ast
from fhir_profiles.fhirpath.errors import limit, syntax
from fhir_profiles.fhirpath.lexer import Token, tokens
from fhir_profiles.fhirpath.quantity import CALENDAR, Quantity
from fhir_profiles.fhirpath.temporal import temporal

# The longest official expression has 4,500 characters and 75 alternatives.
MAX_LENGTH = 20_000
MAX_DEPTH = 100
MAX_DIGITS = 1_000  # Python itself reads no whole number of more than 4,300
MAX_TOKENS = 4_000

# Loosest first; every level is left associative.
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"implies"}),
    frozenset({"or", "xor"}),
    frozenset({"and"}),
    frozenset({"in", "contains"}),
    frozenset({"=", "~", "!=", "!~"}),
    frozenset({"<", "<=", ">", ">="}),
    frozenset({"|"}),
    frozenset({"is", "as"}),
    frozenset({"+", "-", "&"}),
    frozenset({"*", "/", "div", "mod"}),
)
_OPERATORS = {op: level for level, ops in enumerate(_LEVELS) for op in ops}


class Parser:
    def __init__(self, expression: str) -> None:
        if len(expression) > MAX_LENGTH:
            raise limit(f"the expression is longer than {MAX_LENGTH} characters")
        self.tokens = tokens(expression)
        if len(self.tokens) > MAX_TOKENS:
            raise limit(f"the expression has more than {MAX_TOKENS} parts")
        self.at = 0
        self.depth = 0

    def parse(self) -> ast.Expr:
        expr = self.binary(0)
        if self.peek.kind != "end":
            raise self.unexpected()
        return expr

    @property
    def peek(self) -> Token:
        return self.tokens[self.at]

    def unexpected(self) -> Exception:
        token = self.peek
        return syntax("the expression ends too early" if token.kind == "end" else f"unexpected {token.text!r} at character {token.at + 1}")

    def accept(self, text: str) -> bool:
        token = self.tokens[self.at]
        if token.text == text and token.kind in ("symbol", "name"):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.unexpected()

    def operator(self) -> int:
        token = self.tokens[self.at]
        return _OPERATORS.get(token.text, -1) if token.kind in ("symbol", "name") else -1

    def binary(self, level: int) -> ast.Expr:
        """Precedence climbing: one call a nesting, not one a level."""
        self.deeper()
        left = self.unary()
        chain = 0
        while (found := self.operator()) >= level:
            chain += 1
            if chain > MAX_DEPTH and found != 6:
                raise limit(f"more than {MAX_DEPTH} operators in a row")
            op = self.tokens[self.at].text
            self.at += 1
            if op in ("is", "as"):
                left = ast.TypeTest(op, left, self.type_specifier())
                continue
            right = self.binary(found + 1)
            if op == "|":
                parts = left.parts if isinstance(left, ast.Alternatives) else (left,)
                left = ast.Alternatives((*parts, right))
            else:
                left = ast.Binary(op, left, right)
        self.depth -= 1
        return left

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise limit(f"the expression is nested more than {MAX_DEPTH} levels deep")

    def unary(self) -> ast.Expr:
        signs = []
        while (token := self.peek).kind == "symbol" and token.text in "+-":
            signs.append(token.text)
            self.at += 1
            if len(signs) > MAX_DEPTH:
                raise limit("too many signs in a row")
        expr = self.postfix()
        for sign in reversed(signs):
            expr = ast.Sign(sign, expr)
        return expr

    def postfix(self) -> ast.Expr:
        expr = self.term()
        chain = 0
        while True:
            if self.accept("."):
                expr = self.invocation(expr)
            elif self.peek.kind == "symbol" and self.accept("["):
                expr = ast.Index(expr, self.binary(0))
                self.expect("]")
            else:
                return expr
            chain += 1
            if chain > MAX_DEPTH:
                raise limit(f"a path of more than {MAX_DEPTH} steps")

    def invocation(self, source: ast.Expr | None) -> ast.Expr:
        token = self.peek
        if token.kind == "dollar":
            self.at += 1
            return self.dollar(token)
        if token.kind not in ("name", "delimited"):
            raise self.unexpected()
        self.at += 1
        if token.kind == "name" and self.peek.kind == "symbol" and self.accept("("):
            args: list[ast.Expr] = []
            if not self.accept(")"):
                args.append(self.binary(0))
                while self.accept(","):
                    args.append(self.binary(0))
                self.expect(")")
            return ast.Call(source, token.text, tuple(args))
        return ast.Member(source, token.text)

    def dollar(self, token: Token) -> ast.Expr:
        if token.text not in ("$this", "$index", "$total"):
            raise syntax(f"{token.text} is not a FHIRPath variable")
        return ast.Dollar(token.text[1:])

    def term(self) -> ast.Expr:
        token = self.peek
        kind, text = token.kind, token.text
        if kind == "symbol":
            self.at += 1
            if text == "(":
                expr = self.binary(0)
                self.expect(")")
                return expr
            if text == "{":
                self.expect("}")
                return ast.Empty()
            if text == "%":
                name = self.peek
                if name.kind not in ("name", "delimited", "string"):
                    raise self.unexpected()
                self.at += 1
                return ast.Variable(name.text)
            self.at -= 1
            raise self.unexpected()
        if kind in ("name", "delimited", "dollar"):
            if kind == "name" and text in ("true", "false"):
                self.at += 1
                return ast.Literal(text == "true")
            return self.invocation(None)
        if kind == "end":
            raise self.unexpected()
        self.at += 1
        if kind == "string":
            return ast.Literal(text)
        if kind == "number":
            return self.number(text)
        value = temporal(text[1:], literal=True)
        if value is None:
            raise syntax(f"{text} is not a date or time")
        return ast.Literal(value)

    def number(self, text: str) -> ast.Expr:
        if len(text) > MAX_DIGITS:
            raise limit(f"a number has more than {MAX_DIGITS} digits")
        unit = self.peek
        if unit.kind == "string":
            self.at += 1
            return ast.Literal(Quantity(Decimal(text), unit.text))
        if unit.kind == "name" and unit.text in CALENDAR:
            self.at += 1
            return ast.Literal(Quantity(Decimal(text), CALENDAR[unit.text], calendar=True))
        return ast.Literal(Decimal(text) if "." in text else int(text))

    def type_specifier(self) -> str:
        parts = []
        while True:
            token = self.peek
            if token.kind not in ("name", "delimited"):
                raise self.unexpected()
            self.at += 1
            parts.append(token.text)
            if len(parts) == 2 or not self.accept("."):
                return ".".join(parts)


def parse(expression: str) -> ast.Expr:
    """The syntax tree; FHIRPathError `syntax` or `limit`."""
    tree = Parser(expression).parse()
    _shallow(tree)
    return tree


def _shallow(tree: ast.Expr) -> None:
    """Evaluation recurses once or twice a level of the tree: no more levels than Python's stack can take from anywhere."""
    todo: list[tuple[object, int]] = [(tree, 1)]
    while todo:
        expr, depth = todo.pop()
        if depth > MAX_DEPTH * 2:
            raise limit("the expression is nested too deep")
        for name in getattr(expr, "__slots__", ()):
            value = getattr(expr, name)
            todo += [(v, depth + 1) for v in (value if isinstance(value, tuple) else (value,)) if hasattr(v, "__slots__")]
