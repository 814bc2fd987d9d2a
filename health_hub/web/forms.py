"""Forms that were sent, read with limits on every part."""

from urllib.parse import parse_qsl

from starlette.requests import Request

BODY_MAX = 65_536  # bytes
FIELDS_MAX = 300  # a consent page has one field a scope
VALUE_MAX = 40_000  # characters; a passkey's answer is the longest


class FormError(Exception):
    """A body that is no form we would have sent. `status`: 400 or 413."""

    def __init__(self, status: int) -> None:
        super().__init__(f"form refused: {status}")
        self.status = status


class Form:
    """Fields by name; a name that is not there is ""."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def get(self, name: str, most: int = 1000) -> str:
        """The last value of `name`, "" where it has more than `most` characters or a NUL."""
        value = next((v for n, v in reversed(self._fields) if n == name), "")
        return "" if len(value) > most or "\0" in value else value

    def all(self, name: str) -> list[str]:
        return [v for n, v in self._fields if n == name]

    def pairs(self) -> list[tuple[str, str]]:
        return list(self._fields)

    def __contains__(self, name: str) -> bool:
        return any(n == name for n, _ in self._fields)


async def read(request: Request) -> Form:
    """Raises FormError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise FormError(400)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            raise FormError(413)
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise FormError(400) from None
    if any(len(n) > 200 or len(v) > VALUE_MAX for n, v in fields):
        raise FormError(413)
    return Form(fields)


def local_path(value: str, default: str = "/") -> str:
    """`value` where it is a path of this site, else `default`: never another site, whatever a browser makes of `\\`, `//` or controls."""
    if not value.startswith("/") or value[1:2] in ("/", "\\") or len(value) > 8192:
        return default
    if "\\" in value or any(c <= " " or c == "\x7f" or not c.isprintable() for c in value):
        return default
    return value
