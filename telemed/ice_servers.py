"""STUN and TURN addresses as clients take them, with coturn credentials that end by themselves (use-auth-secret)."""

import base64
import hashlib
import hmac
from typing import Any

from telemed.settings import Settings


def ice_servers(settings: Settings, participant: str, now: float) -> list[dict[str, Any]]:
    """For RTCPeerConnection. The TURN user is "expiry:participant", the password its HMAC-SHA1 under coturn's secret."""
    servers: list[dict[str, Any]] = []
    if settings.stun:
        servers.append({"urls": list(settings.stun)})
    if settings.turn:
        username = f"{int(now) + settings.turn_seconds}:{participant}"
        mac = hmac.new(settings.turn_secret.encode(), username.encode(), hashlib.sha1).digest()
        credential = base64.b64encode(mac).decode()
        servers.append({"urls": list(settings.turn), "username": username, "credential": credential, "credentialType": "password"})
    return servers


def link_headers(servers: list[dict[str, Any]]) -> list[str]:
    """The same as Link header values (RFC 9725 4.6)."""
    links = []
    for server in servers:
        for url in server["urls"]:
            link = f'<{url}>; rel="ice-server"'
            if "username" in server:
                link += f'; username="{server["username"]}"; credential="{server["credential"]}"; credential-type="password"'
            links.append(link)
    return links
