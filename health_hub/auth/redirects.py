"""Redirect URIs that may be registered (RFC 6749 3.1.2, RFC 8252, RFC 9700 2.1): exact ones, under https or on the device itself."""

import ipaddress
import re
from urllib.parse import urlsplit

URI_MAX = 2000  # characters
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?@!$&'()+,;=%\[\]-]*")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)*[a-z0-9](?:[a-z0-9-]{0,62})")
# RFC 8252 7.1: a private-use scheme is a domain name reversed, so no scheme of a browser (javascript, data, file) is one.
_PRIVATE = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+")


def wrong(uri: object, *, native: bool) -> str | None:
    """Why it may not be registered; None: it may. native: an application on a device (OpenID Connect Registration's application_type)."""
    if not isinstance(uri, str) or not uri or len(uri) > URI_MAX:
        return f"a redirect URI is text of at most {URI_MAX} characters"
    if "#" in uri:
        return "a redirect URI has no fragment"
    if "*" in uri:
        return "a redirect URI has no wildcard"
    if not _URI.fullmatch(uri) or re.search(r"%(?![0-9A-Fa-f]{2})|%00|%0[adAD]", uri):
        return "a redirect URI is an absolute URI (RFC 3986)"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return "a redirect URI is an absolute URI (RFC 3986)"
    if "@" in parts.netloc:
        return "a redirect URI has no user"
    if any(step in (".", "..") for step in re.sub("%2[eE]", ".", parts.path).split("/")):
        return "a redirect URI has no . or .. in its path"
    if parts.scheme in ("http", "https"):
        host = parts.hostname or ""
        if not host or not uri.startswith(f"{parts.scheme}://") or port == 0 or not _is_host(host):
            return "a redirect URI has a host"
        if parts.scheme == "https":
            return None
        if not native:
            return "a redirect URI is https; http on loopback is for application_type native"
        return None if loopback(host) else "http is for loopback only"
    if not native:
        return "a redirect URI is https; other schemes are for application_type native"
    if not _PRIVATE.fullmatch(parts.scheme):
        return "a private-use scheme is a domain name reversed (vn.example.app)"
    return "a private-use scheme is followed by one / (RFC 8252 7.1)" if parts.netloc else None


def loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return ipaddress.ip_address(host).version == 6
        except ValueError:
            return False
    return len(host) <= 253 and _HOST.fullmatch(host) is not None
