"""Backslash escapes in search values: `\\,` `\\$` `\\|` `\\\\` (R4 search.html#escaping)."""

ESCAPABLE = ",$|\\"


def split(text: str, separator: str) -> list[str]:
    """The parts between unescaped separators; the parts keep their escapes."""
    if "\\" not in text:
        return text.split(separator)
    parts: list[str] = []
    start = at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    parts.append(text[start:])
    return parts


def unescape(text: str) -> str:
    """The literal value. ValueError for a backslash before anything else: R4 calls `xx\\xx` illegal."""
    if "\\" not in text:
        return text
    out: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            character = next(characters, "")
            if not character or character not in ESCAPABLE:
                raise ValueError(r"a backslash may only stand before , $ | or \ (write \\ for a backslash)")
        out.append(character)
    return "".join(out)


def escape(text: str) -> str:
    """The value with every separator marked as literal."""
    for character in "\\,$|":
        text = text.replace(character, "\\" + character)
    return text
