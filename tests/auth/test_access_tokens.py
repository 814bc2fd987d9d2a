"""Access tokens (RFC 9068): what passes for one, and everything that must not."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from health_hub.auth import jose
from health_hub.auth.authority import Authority
from health_hub.auth.model import AuthError
from health_hub.settings import Settings
from health_hub.store.store import Store

ISSUER = "https://hub.example.vn"


def authority(store: Store, **settings: Any) -> Authority:
    return Authority(store, Settings.load({}, **{"base_url": f"{ISSUER}/fhir"} | settings))


@pytest.fixture
async def a(store: Store) -> AsyncIterator[Authority]:
    found = authority(store)
    await found.start()
    yield found
    await found.stop()


def issued(a: Authority, **more: Any) -> str:
    return a.tokens.issue(**{"subject": "acc", "client": "app", "role": "patient", "scope": "patient/*.rs"} | more)[0]


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    head, said, signature = (base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in token.split("."))
    return json.loads(head), json.loads(said), signature


def joined(head: dict[str, Any], said: dict[str, Any], signature: bytes) -> str:
    raw = (json.dumps(head).encode(), json.dumps(said).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in raw)


async def refused(a: Authority, token: str) -> None:
    with pytest.raises(AuthError) as e:
        await a.tokens.read(token)
    assert (e.value.error, e.value.status) == ("invalid_token", 401)


async def test_a_token_says_what_it_was_given(a: Authority) -> None:
    token, claims = a.tokens.issue(
        subject="acc", client="app", role="nurse", scope="user/*.rs", fhir_user="Practitioner/1", name="Lan", organization="Organization/a",
        labels=("HIV",), patient="p", encounter="e", session="s", thumbprint="t",
    )  # fmt: skip
    assert a.tokens.verify(token) == claims
    head, said, _ = parts(token)
    assert (head["typ"], said["iss"], said["aud"], said["cnf"]) == ("at+jwt", ISSUER, f"{ISSUER}/fhir", {"jkt": "t"})
    assert claims.expires - claims.issued == 300


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
async def test_alg_none_is_refused(a: Authority, alg: str) -> None:
    head, said, signature = parts(issued(a))
    for sig in (b"", signature):
        await refused(a, joined(head | {"alg": alg}, said, sig))
    await refused(a, joined({k: v for k, v in head.items() if k != "alg"}, said, signature))


async def test_a_public_key_is_no_secret(a: Authority) -> None:
    """RS/HS confusion: the published key taken for the secret of an HMAC."""
    for key in a.keys.all():
        said = parts(issued(a))[1]
        secrets = [key.key.as_pem(private=False), json.dumps(key.public).encode(), key.public.get("n", key.public.get("x", "")).encode()]
        for secret in secrets:
            for alg in ("HS256", "HS512"):
                oct = OctKey.import_key(base64.urlsafe_b64encode(secret).decode())
                await refused(a, jose.jwt.encode({"alg": alg, "kid": key.kid, "typ": "at+jwt"}, said, oct, algorithms=[alg]))


async def test_a_key_the_token_brings_or_names_is_not_used(a: Authority) -> None:
    head, said, _ = parts(issued(a))
    mine = ECKey.generate_key("P-256")
    public = mine.as_dict(private=False)
    for pointing in ({"jwk": public}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example"}, {"x5c": ["MIIB"]},
                     {"kid": "../../dev/null"}, {"kid": "' OR 1=1 --"}, {"kid": ""}, {"kid": "x" * 5000}, {"kid": None}, {"kid": ["a"]},
                     {"kid": mine.thumbprint()}, {"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"zip": "DEF"}):  # fmt: skip
        await refused(a, _sign(head | pointing, said, mine))


def _sign(head: dict[str, Any], said: dict[str, Any], key: ECKey) -> str:
    """Signed by a key whatever the header says."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    body = joined(head, said, b"").removesuffix(".")
    r, s = decode_dss_signature(key.private_key.sign(body.encode(), ec.ECDSA(hashes.SHA256())))  # type: ignore[union-attr]
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=").decode()
    return f"{body}.{signature}"


async def test_what_was_changed_or_signed_by_another_is_refused(a: Authority) -> None:
    head, said, signature = parts(issued(a))
    await refused(a, joined(head, said | {"role": "administrator"}, signature))
    await refused(a, joined(head, said, b"\0" * 64))
    await refused(a, joined(head, said, signature[:-1]))
    await refused(a, _sign(head, said, ECKey.generate_key("P-256")))
    other = RSAKey.generate_key(2048)
    await refused(a, jose.sign(head | {"alg": "RS256"}, said, other))


def own(a: Authority, head: dict[str, Any] | None = None, alg: str = "ES256", **more: Any) -> str:
    """Signed by the hub's own key, saying something else."""
    said = {k: v for k, v in (parts(issued(a))[1] | more).items() if v is not None}
    key = a.keys.signer(alg)
    return jose.sign({"alg": key.alg, "kid": key.kid, "typ": "at+jwt"} | (head or {}), said, key.key)


NOW = int(time.time())


@pytest.mark.parametrize("more", [
    {"aud": "https://other.example/fhir"}, {"aud": ISSUER}, {"aud": f"{ISSUER}/fhir/"}, {"aud": [f"{ISSUER}/fhir", "https://evil"]},
    {"aud": None},
    {"iss": "https://evil.example"}, {"iss": f"{ISSUER}/"}, {"iss": None}, {"exp": NOW - 1}, {"exp": 0}, {"exp": None}, {"exp": "never"},
    {"exp": True}, {"exp": 1e300}, {"iat": NOW + 3600}, {"iat": None}, {"nbf": NOW + 3600}, {"sub": None}, {"client_id": None},
    {"jti": None},
    {"role": None}, {"scope": None},
])  # fmt: skip
async def test_for_another_audience_from_another_issuer_expired_or_of_the_future(a: Authority, more: dict[str, Any]) -> None:
    assert await a.tokens.read(own(a))
    await refused(a, own(a, **more))


@pytest.mark.parametrize("head", [{"typ": "JWT"}, {"typ": "dpop+jwt"}, {"typ": ""}, {"typ": "id+jwt"}])
async def test_another_kind_of_token_is_no_access_token(a: Authority, head: dict[str, str]) -> None:
    await refused(a, own(a, head))


async def test_the_algorithm_is_the_keys_and_not_the_tokens(a: Authority) -> None:
    assert await a.tokens.read(own(a, alg="RS256"))
    key = a.keys.signer("RS256")
    said = parts(issued(a))[1]
    for alg in ("RS384", "PS256"):
        await refused(a, jose.sign({"alg": alg, "kid": key.kid, "typ": "at+jwt"}, said, key.key))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "x" * 9000, "é.é.é", "eyJhbGciOiJub25lIn0.e30.", "a.b.c.d.e", "[].{}.x", "\0"])
async def test_what_is_no_token_at_all(a: Authority, token: str) -> None:
    await refused(a, token)


async def test_a_token_of_a_hub_with_other_keys_is_refused(a: Authority, tmp_path: Any) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/other.db")
    other = authority(store)
    await other.keys.load()
    await refused(a, issued(other))
    await store.close()


async def test_keys_rotate_and_old_tokens_stay_good_until_they_end(a: Authority, store: Store) -> None:
    before = issued(a)
    worker = authority(store)
    await worker.keys.load()
    old = a.keys.signer().kid
    await asyncio.sleep(1.1)  # a worker looks for an unknown key once a second at most
    await a.keys.rotate(lead=0)
    after = issued(a)
    assert a.keys.signer().kid != old
    assert parts(after)[0]["kid"] != parts(before)[0]["kid"]
    for token in (before, after):
        assert await a.tokens.read(token)
        assert await worker.tokens.read(token), "another worker, which has not heard of the new key"
    assert old in {k["kid"] for k in a.keys.jwks()["keys"]}
    assert not any(set(k) & jose.PRIVATE for k in a.keys.jwks()["keys"])


async def test_what_was_revoked_is_refused_though_it_was_good_a_moment_ago(a: Authority) -> None:
    for id in ("session/s", "account/acc", "client/app", "token/{jti}"):
        token = issued(a, session="s")
        claims = await a.tokens.read(token) if id.startswith(("session", "token")) else None
        await a.revoked.add(id.format(jti=claims.id if claims else ""))
        await refused(a, token)
        a.revoked._ids.clear()


async def test_the_private_keys_are_kept_encrypted(a: Authority) -> None:
    record = await a.store.records.get("key", "ring")
    assert record
    for k in a.keys.all():
        private = k.key.as_dict(private=True)["d"]
        assert isinstance(private, str)
        assert private not in str(record.data)
        assert "BEGIN" not in str(record.data)
