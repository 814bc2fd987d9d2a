"""The impairment proxy does what it is told, and the same thing twice."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.telemed.impair import Impairment, Path
from tests.telemed.pipe import Pipe


class Echo(asyncio.DatagramProtocol):
    """Stands for the relay: sends everything back and remembers who spoke."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, tuple[str, int]]] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append((data, addr))
        self.transport.sendto(data, addr)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    yield protocol
    transport.close()
    await asyncio.sleep(0)


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        s.setblocking(False)
        yield s


def at(echo: Echo) -> tuple[str, int]:
    host, port = echo.transport.get_extra_info("sockname")
    return host, port


def send(link: Impairment, client: socket.socket, count: int, size: int = 100) -> None:
    for n in range(count):
        client.sendto(n.to_bytes(4) + bytes(size - 4), link.address)


async def send_many(link: Impairment, client: socket.socket, count: int) -> None:
    """No more at once than the kernel's default buffers hold."""
    for n in range(count):
        client.sendto(n.to_bytes(4) + bytes(96), link.address)
        if n % 50 == 49:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.1)


async def received(client: socket.socket, seconds: float = 0.3) -> list[int]:
    """Numbers of what comes until nothing has come for so long."""
    found = []
    while True:
        try:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 2048), seconds)
        except TimeoutError:
            return found
        found.append(int.from_bytes(data[:4]))


async def test_a_perfect_path_changes_nothing(echo: Echo, client: socket.socket) -> None:
    async with Impairment(at(echo)) as link:
        send(link, client, 200)
        assert await received(client) == list(range(200))
        up, down = link.counts()
        assert (up.passed, down.passed, up.lost, down.lost) == (200, 200, 0, 0)


async def test_loss_is_the_same_for_the_same_seed(echo: Echo) -> None:
    runs = []
    for seed in (5, 5, 6):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind(("127.0.0.1", 0))
            client.setblocking(False)
            async with Impairment(at(echo), seed=seed, up=Path(loss=0.2)) as link:
                echo.heard.clear()
                await send_many(link, client, 1000)
                runs.append([int.from_bytes(data[:4]) for data, _ in echo.heard])
    assert runs[0] == runs[1] != runs[2]
    assert 740 < len(runs[0]) < 860


async def test_bursts_lose_the_same_share_in_longer_runs(echo: Echo, client: socket.socket) -> None:
    async with Impairment(at(echo), up=Path(loss=0.2, burst=5)) as link:
        await send_many(link, client, 4000)
        came = [int.from_bytes(data[:4]) for data, _ in echo.heard]
        runs = 1 + sum(1 for a, b in itertools.pairwise(came) if b > a + 1)
        assert 0.15 < 1 - len(came) / 4000 < 0.25
        assert 3.5 < (4000 - len(came)) / runs < 7


async def test_delay_and_jitter_keep_the_order(echo: Echo, client: socket.socket) -> None:
    async with Impairment(at(echo), up=Path(delay=60, jitter=30), down=Path(delay=40)) as link:
        began = asyncio.get_running_loop().time()
        send(link, client, 50)
        first = await asyncio.get_running_loop().sock_recv(client, 2048)
        assert first[:4] == bytes(4)
        assert asyncio.get_running_loop().time() - began > 0.095
        assert await received(client) == list(range(1, 50))


async def test_reordered_ones_come_later(echo: Echo, client: socket.socket) -> None:
    async with Impairment(at(echo), up=Path(reorder=0.1, late=30)) as link:
        send(link, client, 200)
        came = await received(client)
        assert sorted(came) == list(range(200)) != came


async def test_a_bottleneck_passes_its_rate_and_drops_what_its_queue_cannot_hold(echo: Echo, client: socket.socket) -> None:
    async with Impairment(at(echo), up=Path(rate=400_000, queue=100)) as link:
        send(link, client, 100, 972)  # 8,000 bit each on the wire: 20 ms; the one being sent, and those that wait up to 100 ms
        came = await received(client)
        assert came == list(range(6))
        up, _ = link.counts()
        assert up.overflowed == 94
        assert 90 <= up.queued_ms <= 101


async def test_a_cut_link_passes_nothing_until_it_is_back(echo: Echo, client: socket.socket) -> None:
    async with Impairment(at(echo)) as link:
        link.cut(0.3)
        send(link, client, 10)
        assert await received(client, 0.1) == []
        await asyncio.sleep(0.25)
        send(link, client, 3)
        assert await received(client) == [0, 1, 2]
        assert link.counts()[0].cut == 10


async def test_rebinding_shows_the_relay_a_new_port_and_the_client_nothing(echo: Echo, client: socket.socket) -> None:
    async with Impairment(at(echo)) as link:
        send(link, client, 1)
        assert await received(client) == [0]
        link.rebind()
        send(link, client, 1)
        assert await received(client) == [0]
        assert len({address for _, address in echo.heard}) == 2
        assert len(link.flows) == 1


async def test_one_client_by_its_ice_fragment(echo: Echo, client: socket.socket) -> None:
    request = bytes.fromhex("000100100000000000000000000000000000000000060009") + b"abc:defgh" + bytes(3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.setblocking(False)
        async with Impairment(at(echo)) as link:
            link.only("defgh", up=Path(loss=1))
            client.sendto(request, link.address)
            send(link, client, 5)
            send(link, other, 5)
            assert await received(client) == []
            assert await received(other) == [0, 1, 2, 3, 4]
            link.up = Path(delay=1)
            assert [flow.up.path.loss for flow in link.flows] == [1, 0]
            assert link.flows[0].fragment == "defgh"


async def test_the_pipe_stalls_when_cut_and_loses_nothing() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with Pipe(server.sockets[0].getsockname(), delay=20) as pipe:
        reader, writer = await asyncio.open_connection(*pipe.address)
        began = asyncio.get_running_loop().time()
        writer.write(b"one")
        assert await reader.read(100) == b"one"
        assert asyncio.get_running_loop().time() - began >= 0.04
        pipe.cut(0.3)
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(100), 0.15)
        assert await reader.read(100) == b"two"
        pipe.drop()
        with pytest.raises(ConnectionResetError):
            await reader.read(100)
        writer.close()
        await asyncio.sleep(0.05)
    server.close()
