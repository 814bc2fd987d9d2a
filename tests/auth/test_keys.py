"""Signing keys: kept encrypted, rotated while the server runs, old tokens stay valid until they end."""

import json

import pytest
from joserfc.jwk import import_key

from health_hub.auth import keys
from health_hub.auth.authority import Authority
from health_hub.auth.keys import Keys
from health_hub.auth.model import AuthError
from health_hub.settings import SettingError, Settings


async def test_kid_is_the_thumbprint_and_nothing_private_is_published(authority: Authority) -> None:
    published = authority.keys.jwks()["keys"]
    assert {k["alg"] for k in published} == {"ES256", "RS256"}
    for k in published:
        assert k["kid"] == import_key(k).thumbprint()
        assert not {"d", "p", "q", "dp", "dq", "qi"} & k.keys()


async def test_private_parts_are_not_readable_in_the_store(authority: Authority) -> None:
    record = await authority.store.records.get("key", "ring")
    assert record
    text = json.dumps(record.data)
    assert "PRIVATE" not in text
    assert '"d"' not in text
    with pytest.raises(SettingError):
        await Keys(authority.store.records, b"another secret", 300).load()


async def test_key_setting_encrypts(authority: Authority) -> None:
    await authority.store.records.take("key", "ring")
    a = Authority(authority.store, Settings(key="k" * 32))
    await a.keys.load()
    with pytest.raises(SettingError):
        await Authority(authority.store, Settings()).keys.load()


async def test_workers_that_start_together_have_the_same_keys(authority: Authority) -> None:
    import asyncio

    await authority.store.records.take("key", "ring")
    rings = [Keys(authority.store.records, b"s", 300) for _ in range(3)]
    await asyncio.gather(*(r.load() for r in rings))
    assert len({json.dumps(r.jwks()) for r in rings}) == 1


async def test_rotated_key_is_published_before_it_signs(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    old = authority.keys.signer()
    new = await authority.keys.rotate(lead=5)
    assert set(new) <= {k["kid"] for k in authority.keys.jwks()["keys"]}
    assert authority.keys.signer() == keys.SigningKey(old.kid, old.alg, old.key, old.public, old.starts, authority.keys.signer().until)
    later = keys._now() + 6
    monkeypatch.setattr(keys, "_now", lambda: later)
    assert authority.keys.signer().kid in new
    assert authority.keys.signer("RS256").kid in new


async def test_old_tokens_stay_valid_after_a_rotation_and_the_key_goes_when_they_ended(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = authority.keys.signer()
    token, claims = authority.tokens.issue(subject="a", client="c", role="nurse", scope="")
    await authority.keys.rotate(lead=0)
    assert authority.keys.signer().kid != old.kid
    assert authority.tokens.verify(token) == claims
    now = keys._now()
    monkeypatch.setattr(keys, "_now", lambda: now + 299)
    assert authority.keys.get(old.kid)
    monkeypatch.setattr(keys, "_now", lambda: now + 300 + keys.GRACE + 1)
    assert authority.keys.get(old.kid) is None
    assert old.kid not in {k["kid"] for k in authority.keys.jwks()["keys"]}
    await authority.keys.rotate(lead=0)
    record = await authority.store.records.get("key", "ring")
    assert record
    assert old.kid not in {k["kid"] for k in record.data["keys"]}


async def test_another_worker_finds_a_new_key_when_it_meets_it(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Authority(authority.store, authority.settings)
    await other.keys.load()
    await authority.keys.rotate(lead=0)
    token, claims = authority.tokens.issue(subject="a", client="c", role="nurse", scope="")
    # Made-up key ids do not make it look more often than once a second.
    with pytest.raises(AuthError):
        await other.tokens.read(token)
    monkeypatch.setattr(keys, "RELOAD", 0.0)
    assert await other.tokens.read(token) == claims
