"""How a request is called in the audit trail (R4 valueset-restful-interaction; DICOM's C R U D E)."""

from health_hub.rest.request import Request

_BY_METHOD = {"POST": ("create", "C"), "PUT": ("update", "U"), "PATCH": ("patch", "U"), "DELETE": ("delete", "D")}
_LEVEL = ("system", "type", "instance")


def interaction(request: Request) -> tuple[str, str]:
    """(interaction, action), by method and path."""
    segments, method = request.segments, request.method
    n = len(segments)
    if n == 2 and method == "GET" and segments[0][:1] not in "$_" and segments[1][:1] not in "$_":
        return "read", "R"  # most of all
    if any(s[:1] == "$" for s in segments):
        return "operation", "E"
    if n == 0 and method == "POST":
        return "batch" if request.batch else "transaction", "E"
    if "_history" in segments:
        if segments[-1] != "_history":
            return "vread", "R"
        return f"history-{_LEVEL[min(n - 1, 2)]}", "R"
    if method in ("GET", "HEAD") or segments[-1:] == ["_search"]:
        if n == 2 and segments[-1] != "_search":
            return "read", "R"
        return ("search-system", "E") if n == 0 or segments == ["_search"] else ("search-type", "E")
    return _BY_METHOD.get(method, ("operation", "E"))


def target(request: Request) -> str:
    """What was asked, as a path below the base with its parameters, those of a form too."""
    path = "/".join(request.segments)
    query = request.query.decode("latin-1") if not request.formed else "&".join(f"{k}={v}" for k, v in request.pairs)
    return f"{path}?{query}" if query else path
