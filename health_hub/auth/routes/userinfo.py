"""GET and POST /auth/userinfo (OpenID Connect Core 5.3)."""

from fastapi import APIRouter, Request, Response

from health_hub.auth import dpop
from health_hub.auth.authority import Authority
from health_hub.auth.id_tokens import about
from health_hub.auth.model import AuthError
from health_hub.auth.routes.messages import answer, answering

PATH = "/auth/userinfo"


def router(authority: Authority) -> APIRouter:
    routes = APIRouter()

    async def userinfo(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        kind, token = scheme.lower(), token.strip()
        if kind not in ("bearer", "dpop") or not token:
            # RFC 6750 3.1: no error code for who sent no token.
            raise AuthError("invalid_request", "an access token is needed", 401, (("WWW-Authenticate", 'Bearer realm="userinfo"'),))
        try:
            claims = await authority.tokens.read(token)
            proofs = request.headers.getlist("dpop")
            if (claims.thumbprint is not None) != (kind == "dpop") or len(proofs) != (kind == "dpop"):
                raise AuthError("invalid_token", "a token bound to a key is sent with one proof, another with none", 401)
            if claims.thumbprint is not None:
                shown = await dpop.check(authority, proofs[0], request.method, f"{authority.issuer}{PATH}", access_token=token)
                if shown != claims.thumbprint:
                    raise AuthError("invalid_token", "the proof is of another key", 401)
            account = await authority.accounts.get(claims.subject)
            if account is None or not account.enabled:
                raise AuthError("invalid_token", "there is no such person", 401)
            if "openid" not in claims.scope.split():
                raise AuthError("insufficient_scope", "scope openid is needed", 403)
        except AuthError as e:
            name = "DPoP" if kind == "dpop" else "Bearer"
            said = (("WWW-Authenticate", f'{name} realm="userinfo", error="{e.error}"'),)
            raise AuthError(e.error, e.description, e.status if e.status in (401, 403) else 401, said + e.headers) from None
        return answer(about(authority, account, claims.scope))

    routes.add_api_route(PATH, answering(userinfo), methods=["GET", "POST"])
    return routes
