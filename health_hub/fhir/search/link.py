"""The query string of a self or paging link: what was understood, so that a client sees what was not (R4 search.html#conformance)."""

from urllib.parse import quote

from health_hub.fhir.search.query import Query

CURSOR = "_cursor"
# Readable links: characters a query may hold as they are (RFC 3986), without `+` and `&`. `|` may not, and Java's URI refuses it.
_SAFE = "/:$,*@!()~"


def link(query: Query, cursor_token: str | None = None) -> str:
    """`name=value&...` of what was understood, then the cursor; parsing it again gives the same search."""
    parts = [f"{quote(name, _SAFE)}={quote(text, _SAFE)}" for name, text in query.understood]
    if cursor_token is not None:
        parts.append(f"{CURSOR}={quote(cursor_token, '')}")
    return "&".join(parts)
