"""Questions that wait together are asked together: while one statement is under way, the next one gathers."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")
AT_ONCE = 2  # statements under way
BATCH = 200  # questions in one


class Together(Generic[Q, A]):
    """`ask` answers a list of questions in order; only those with the same `kind` go together.

    When the answer to several is an error of `alone`, each is asked again alone, so that nobody gets an error for another's question.
    """

    def __init__(
        self,
        ask: Callable[[list[Q]], Awaitable[list[A]]],
        kind: Callable[[Q], Hashable] = lambda q: None,
        *,
        at_once: int = AT_ONCE,
        batch: int = BATCH,
        alone: type[Exception] = Exception,
    ) -> None:
        self._ask, self._kind, self._at_once, self._batch, self._alone = ask, kind, at_once, batch, alone
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0

    async def __call__(self, question: Q) -> A:
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._running < self._at_once:
            self._running += 1
            task = asyncio.create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                kind = self._kind(self._waiting[0][0])
                batch: list[tuple[Q, asyncio.Future[A]]] = []
                rest: list[tuple[Q, asyncio.Future[A]]] = []
                for one in self._waiting:
                    (batch if len(batch) < self._batch and self._kind(one[0]) == kind else rest).append(one)
                self._waiting = rest
                await self._answer(batch)
        finally:
            self._running -= 1

    async def _answer(self, batch: list[tuple[Q, "asyncio.Future[A]"]]) -> None:
        try:
            answers = await self._ask([question for question, _ in batch])
        except Exception as e:
            if len(batch) > 1 and isinstance(e, self._alone):
                for one in batch:
                    await self._answer([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(e)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
