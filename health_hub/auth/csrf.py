"""A form is answered only if our own page made it: a token in the form, and what the browser says about where it came from."""

import hashlib
import hmac


def token(cookie: str) -> str:
    """For the hidden field of a form. `cookie`: value of the session's cookie, or before sign-in of the browser's.

    The cookie's secret is the key, so the token is worth nothing in another session and nothing needs to be kept.
    """
    return hmac.new(cookie.encode("utf-8", "replace"), b"csrf", hashlib.sha256).hexdigest()


def valid(cookie: str, given: str) -> bool:
    """In constant time. No cookie, no valid token."""
    return bool(cookie) and hmac.compare_digest(token(cookie).encode(), given.encode("utf-8", "replace"))


def own_origin(headers: dict[str, str], issuer: str) -> bool:
    """Whether a request that changes something came from our own page. headers: names in lower case; issuer: our origin.

    Sec-Fetch-Site decides where it is sent: `Origin` is "null" from a page with Referrer-Policy no-referrer. A client that sends
    neither is no browser of this decade, and the token alone decides.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is None or origin == issuer
