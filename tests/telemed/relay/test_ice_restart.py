"""ICE restarts: which socket of a peer is sent to, by the names that its checks bear (RFC 8445 7.3, 9)."""

import pytest

from bench.relay import session
from bench.relay.transport import Remote
from telemed.relay.peer import MAX_FRAGMENTS
from telemed.wire import stun
from tests.telemed.relay.forms import Form
from tests.telemed.relay.honest import Ear, call, check, silent, stranger, until


@pytest.mark.parametrize("form", ["python", "compiled"])
async def test_new_sockets_are_followed_under_the_name_of_before_and_old_ones_are_not(form: Form) -> None:
    """Browsers keep the relay's old name for the pair of a new socket when the answer names it anew at the same address."""
    async with call(form) as honest:
        relay, transport = honest.relay, silent()
        peer = relay.join("room", "x", Ear())
        sockets = [stranger() for _ in range(4)]

        def offered() -> Remote:
            return session.read(peer.negotiate(session.offer(transport, ()), {}, {}))

        async def asks(n: int, remote: Remote, theirs: str, nominates: bool = True) -> bool:
            """Whether the relay answers; by then it has decided."""
            sockets[n].sendto(check(remote, *[(stun.USE_CANDIDATE, b"")] * nominates, theirs=theirs), relay.address)
            found: list[bytes] = []

            def answered() -> bool:
                try:
                    found.append(sockets[n].recv(2000))
                except BlockingIOError:
                    return False
                return True

            await until(answered, honest.speak)
            return stun.parse(found[0]).kind == stun.SUCCESS

        def used() -> int:
            return [s.getsockname() for s in sockets].index(peer.endpoint.address)

        first, name = offered(), transport.ufrag
        assert await asks(0, first, name)
        assert used() == 0
        transport.ufrag, transport.password = "later", "later" * 5
        second = offered()
        assert second.ufrag != first.ufrag
        assert await asks(1, first, "later", nominates=False)
        assert used() == 0, "a check alone moves nothing"
        assert await asks(1, first, "later")
        assert used() == 1
        assert await asks(0, first, name)
        assert used() == 1, "the sockets of before keep consent, and are not gone back to"
        assert await asks(2, second, "later")
        assert used() == 2
        # The pair under the old name lives on over another restart, until one of that is checked.
        transport.ufrag = "latest"
        third = offered()
        assert await asks(1, first, "later")
        assert used() == 2, "a name of before on both sides"
        assert await asks(3, second, "latest")
        assert used() == 3
        for n in range(MAX_FRAGMENTS):
            transport.ufrag = f"more{n}"
            offered()
        strangers = relay.forwarding.strangers
        for remote in (first, second, third):
            sockets[0].sendto(check(remote, (stun.USE_CANDIDATE, b""), theirs=f"more{n}"), relay.address)
        await until(lambda: relay.forwarding.strangers == strangers + 3, honest.speak)
        assert used() == 3
        for s in sockets:
            s.close()
        for _ in range(20):
            honest.speak()
        transport.close()
