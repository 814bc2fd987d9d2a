"""coturn with the relay's credentials: to the relay and to nothing else, and not for ever."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aioice.stun import TransactionFailed
from aioice.turn import TurnClientUdpProtocol

from telemed.ice_servers import ice_servers
from telemed.settings import Settings
from tests.telemed.coturn import PROGRAM, SECRET, WHY, coturn

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=WHY)


async def test_coturn_lets_good_credentials_through_to_the_relay_and_to_nothing_else(tmp_path: Path) -> None:
    settings = Settings(open=True, turn=("turn:127.0.0.1",), turn_secret=SECRET)
    with coturn(tmp_path) as port:
        async with allocation(port, settings, time.time()) as turn:
            await turn.channel_bind(0x4000, ("127.0.0.1", 40_000))
            for inside in ("127.0.0.2", "10.0.0.1", "169.254.169.254"):
                with pytest.raises(TransactionFailed, match="403"):
                    await turn.channel_bind(0x4001, (inside, 40_000))
        ended = time.time() - settings.turn_seconds - 60
        with pytest.raises(TransactionFailed, match="401"):
            async with allocation(port, settings, ended):
                pass


@asynccontextmanager
async def allocation(port: int, settings: Settings, made: float) -> AsyncIterator[TurnClientUdpProtocol]:
    """A TURN client with credentials that the relay made at `made` (seconds since 1970)."""
    server = ice_servers(settings, "benhnhan", made)[0]

    def client() -> TurnClientUdpProtocol:
        return TurnClientUdpProtocol(
            ("127.0.0.1", port), username=server["username"], password=server["credential"], lifetime=600, channel_refresh_time=500
        )

    transport, turn = await asyncio.get_running_loop().create_datagram_endpoint(client, remote_addr=("127.0.0.1", port))
    try:
        await turn.connect()
        yield turn
        await turn.delete()
    finally:
        transport.close()
