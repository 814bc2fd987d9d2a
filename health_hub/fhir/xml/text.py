"""Characters on their way into XML: escapes, and those that XML 1.0 has no way to say."""

import re

# Tab and line ends as references: a parser turns them into spaces inside attributes otherwise.
_ATTRIBUTE = re.compile('[&<>"\t\n\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def _reference(found: re.Match[str]) -> str:
    try:
        return _REFERENCES[found[0]]
    except KeyError:
        raise ValueError(f"the character U+{ord(found[0]):04X} cannot be written in XML") from None


def attribute(text: str) -> str:
    """Between double quotes. ValueError for a character that XML 1.0 cannot hold."""
    return _ATTRIBUTE.sub(_reference, text) if _ATTRIBUTE.search(text) else text


def character_data(text: str) -> str:
    """Between tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
