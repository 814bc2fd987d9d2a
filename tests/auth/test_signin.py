"""Signing in, step by step."""



from health_hub.store.store import Store
from tests.auth.hub import hub, person, signed_in


async def test_a_password_signs_in(store: Store) -> None:
    h, s = hub(store)
    account = await person(h, s)
    done = await signed_in(s, "BS.Lan ")
    found = await h.sessions.of(done.cookie)
    assert found is not None
    assert found == (done.session, account)
    assert (done.session.amr, done.session.agent, done.session.address) == (("pwd",), "Chrome, Android", "203.0.113.7")
    assert [(e.kind, e.success) for e in h.events] == [("sign-in", True)]
