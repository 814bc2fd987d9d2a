"""Bytes mutated from valid ones, the same at every run."""

import random
from collections.abc import Callable, Iterable, Iterator


def mutated(originals: Iterable[bytes], rounds: int, seed: int = 7) -> Iterator[bytes]:
    """`rounds` variants of each: bytes changed, cut, put in, doubled."""
    chance = random.Random(seed)
    for original in originals:
        for _ in range(rounds):
            data = bytearray(original)
            for _ in range(chance.choice((1, 1, 2, 3, 8))):
                at = chance.randrange(len(data) + 1)
                kind = chance.randrange(5)
                if kind == 0 and at < len(data):
                    data[at] = chance.randrange(256)
                elif kind == 1 and at < len(data):
                    data[at] ^= 1 << chance.randrange(8)
                elif kind == 2:
                    del data[at:]
                elif kind == 3:
                    data[at:at] = chance.randbytes(chance.randrange(1, 6))
                else:
                    data[at:at] = data[at : at + chance.randrange(1, 20)]
            yield bytes(data)


def holds(read: Callable[[bytes], object], originals: Iterable[bytes], rounds: int, error: type[Exception]) -> int:
    """Reads every variant; only `error` may come out. Returns how many were read without it."""
    fine = 0
    for data in mutated(originals, rounds):
        try:
            read(data)
            fine += 1
        except error:
            pass
    return fine
