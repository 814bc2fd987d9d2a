"""A small OpenID provider: code flow with PKCE over HTTP, and lies where a test tells it to."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

ISSUER = "https://id.example.vn"


@dataclass
class Fetched:
    status: int
    body: bytes


@dataclass
class Provider:
    """claims: over those of the id_token, None removes one. header: over the token's. metadata: over what discovery answers.

    signing: another key; bytes for an HMAC with them, or none where there are none.
    """

    issuer: str = ISSUER
    client_id: str = "hub"
    client_secret: str = "bí mật/+ của hub"
    subject: str = "công dân 1"
    claims: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    signing: Any = None
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key: Any = RSAKey.generate_key(2048, {"kid": "1", "use": "sig"})
        self.codes: dict[str, dict[str, str]] = {}
        self.app = FastAPI()
        self.app.get("/.well-known/openid-configuration")(self.discovery)
        self.app.get("/jwks")(self.jwks)
        self.app.post("/token")(self.token)

    async def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"], **self.metadata,
        }  # fmt: skip

    async def jwks(self) -> dict[str, Any]:
        return {"keys": [self.key.as_dict(private=False), OctKey.generate_key(256, {"kid": "x"}).as_dict(private=True)]}

    def authorize(self, url: str) -> dict[str, str]:
        """What a person who says yes brings back to the redirect URI."""
        query = {k: v[0] for k, v in parse_qs(urlsplit(url).query, strict_parsing=True).items()}
        assert (query["response_type"], query["client_id"], query["code_challenge_method"]) == ("code", self.client_id, "S256")
        code = secrets.token_urlsafe()
        self.codes[code] = query
        return {"code": code, "state": query["state"], "iss": self.issuer}

    async def token(self, request: Request) -> JSONResponse:
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode(), strict_parsing=True).items()}
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        basic = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
        if request.headers.get("authorization") != "Basic " + base64.b64encode(basic.encode()).decode():
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked is None or challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": self.subject, "aud": self.client_id, "exp": now + 300, "iat": now, "nonce": asked["nonce"]}
        claims = {k: v for k, v in (claims | self.claims).items() if v is not None}
        header = {"alg": "RS256", "kid": self.key.kid} | self.header
        if isinstance(self.signing, bytes):
            token = by_hand(header, claims, self.signing)
        else:
            token = jwt.encode(header, claims, self.signing or self.key, algorithms=["RS256", "ES256"])
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})

    async def fetch(self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Fetched:
        self.asked.append(urlsplit(url).path)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as client:
            answer = await client.request(method, url, headers=headers, content=body)
            return Fetched(answer.status_code, answer.content)


def by_hand(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    """What no library makes any more: a token signed with a public key as a password, or not at all."""
    signed = ".".join(base64.urlsafe_b64encode(json.dumps(x).encode()).rstrip(b"=").decode() for x in (header, claims))
    signature = hmac.digest(key, signed.encode(), "sha256") if key else b""
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def another_key() -> Any:
    return RSAKey.generate_key(2048, {"kid": "1"})


def elliptic() -> Any:
    return ECKey.generate_key("P-256", {"kid": "2", "use": "sig"})
