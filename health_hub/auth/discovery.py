"""What the authorization server can do, for those who begin with its address (SMART App Launch 2, OpenID Connect Discovery, RFC 8414).

One description, three documents: they cannot disagree. What is named here exists; a test asks each address.
"""

from typing import TYPE_CHECKING, Any

from health_hub.auth import dpop
from health_hub.auth.grants import GRANTS

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

SCOPES = (
    "openid", "fhirUser", "profile", "launch", "launch/patient", "launch/encounter", "offline_access", "online_access", "patient/*.cruds",
    "patient/*.rs", "user/*.cruds", "user/*.rs", "system/*.cruds", "system/*.rs",
)  # fmt: skip
METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")
ASSERTIONS = ("RS384", "ES384", "RS256", "ES256", "PS256", "PS384")
CAPABILITIES = (
    "launch-ehr", "launch-standalone", "authorize-post", "client-public", "client-confidential-symmetric", "client-confidential-asymmetric",
    "sso-openid-connect", "context-banner", "context-style", "context-ehr-patient", "context-ehr-encounter", "context-standalone-patient",
    "permission-offline", "permission-online", "permission-patient", "permission-user", "permission-v1", "permission-v2",
)  # fmt: skip
CLAIMS = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "sid", "amr", "name", "locale", "fhirUser")
_SMART = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


def _endpoints(authority: "Authority") -> dict[str, str]:
    at = authority.issuer
    return {
        "authorization_endpoint": f"{at}/auth/authorize",
        "token_endpoint": f"{at}/auth/token",
        "introspection_endpoint": f"{at}/auth/introspect",
        "revocation_endpoint": f"{at}/auth/revoke",
    } | ({"registration_endpoint": f"{at}/auth/register"} if authority.settings.registration != "closed" else {})


def _shared(authority: "Authority") -> dict[str, Any]:
    """What all three say."""
    return {
        "issuer": authority.issuer,
        "jwks_uri": f"{authority.issuer}/auth/jwks",
        **_endpoints(authority),
        "grant_types_supported": list(GRANTS),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": list(SCOPES),
        "token_endpoint_auth_methods_supported": [*METHODS, "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(ASSERTIONS),
    }


def smart(authority: "Authority") -> dict[str, Any]:
    """`.well-known/smart-configuration`."""
    return _shared(authority) | {"capabilities": list(CAPABILITIES)}


def oauth(authority: "Authority") -> dict[str, Any]:
    """`.well-known/oauth-authorization-server`."""
    at = authority.issuer
    return _shared(authority) | {
        "response_modes_supported": ["query"],
        "pushed_authorization_request_endpoint": f"{at}/auth/par",
        "require_pushed_authorization_requests": False,
        "device_authorization_endpoint": f"{at}/auth/device_authorization",
        "introspection_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(ASSERTIONS),
        "revocation_endpoint_auth_methods_supported": [*METHODS, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(ASSERTIONS),
        "authorization_response_iss_parameter_supported": True,
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
        "ui_locales_supported": ["vi", "en"],
        "protected_resources": [authority.audience],
    }


def openid(authority: "Authority") -> dict[str, Any]:
    """`.well-known/openid-configuration`."""
    return oauth(authority) | {
        "userinfo_endpoint": f"{authority.issuer}/auth/userinfo",
        "end_session_endpoint": f"{authority.issuer}/auth/logout",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "claims_supported": list(CLAIMS),
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def capability_security(authority: "Authority") -> dict[str, Any]:
    """CapabilityStatement.rest.security: the SMART service and its addresses (SMART App Launch 1's extension, which clients still read)."""
    uris = {
        "authorize": "authorization", "token": "token", "introspect": "introspection", "revoke": "revocation", "register": "registration",
    }  # fmt: skip
    known = _endpoints(authority)
    return {
        "service": [
            {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}],
                "text": "OAuth 2, SMART on FHIR",
            }
        ],
        "extension": [
            {
                "url": _SMART,
                "extension": [
                    {"url": name, "valueUri": known[f"{of}_endpoint"]} for name, of in uris.items() if f"{of}_endpoint" in known
                ],
            }
        ],
    }
