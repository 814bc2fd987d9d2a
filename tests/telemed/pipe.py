"""The TCP side of a bad link: a proxy before signalling that delays, stalls and drops, so that a cut is one for the WebSocket too."""

import asyncio
import socket
import struct
from typing import Final, Self

QUEUE: Final = 256  # reads on their way in one direction


class Pipe:
    """`async with Pipe(("127.0.0.1", port)) as pipe`; clients use `pipe.address`.

    `delay`: ms each way. A cut stalls what flows and keeps new connections waiting, as lost packets do; nothing is lost, it comes late.
    """

    def __init__(self, target: tuple[str, int], delay: float = 0.0, host: str = "127.0.0.1", port: int = 0) -> None:
        self.target, self.delay = target, delay
        self.address = (host, port)
        self._open = asyncio.Event()
        self._open.set()
        self._mend: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, *self.address)
        self.address = self._server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._mend is not None:
            self._mend.cancel()
        self._server.close()
        self.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, seconds: float) -> None:
        """Nothing passes for so long; 0 mends."""
        if self._mend is not None:
            self._mend.cancel()
        self._open.clear()
        self._mend = asyncio.get_running_loop().call_later(seconds, self._open.set)

    def drop(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            end = writer.get_extra_info("socket")
            if end is not None and end.fileno() >= 0:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST instead of FIN
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        inner: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            from_target, inner = await asyncio.open_connection(*self.target)
            self._writers.add(inner)
            ways = [asyncio.create_task(self._pass(reader, inner)), asyncio.create_task(self._pass(from_target, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, inner):
                if end is not None:
                    end.close()
                    self._writers.discard(end)
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE)

        async def read() -> None:
            data = b"-"
            while data:
                data = await reader.read(65536)
                await waiting.put((loop.time() + self.delay / 1000, data))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, data = await waiting.get()
                if due > loop.time():  # each datum by itself: what comes close behind does not wait twice
                    await asyncio.sleep(due - loop.time())
                await self._open.wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
