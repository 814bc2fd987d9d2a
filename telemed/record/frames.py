"""What a depacketizer makes and a file holds: one frame, and reading bits of a codec's header."""

from dataclasses import dataclass


@dataclass(slots=True)
class Frame:
    """One encoded picture or piece of sound, whole."""

    timestamp: int  # RTP, 32 bits
    data: bytes
    key: bool
    arrival: float  # seconds, of its first packet
    broken: bool = False  # something before it is missing
    width: int = 0  # pixels, with a keyframe
    height: int = 0
    config: bytes = b""  # what the file's header needs to know of the codec, with a keyframe


class Bits:
    """Reads a header bit by bit, most significant first. Raises IndexError at its end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __call__(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def ue(self) -> int:
        """Exp-Golomb, unsigned (H.264 9.1)."""
        zeros = 0
        while not self(1):
            zeros += 1
            if zeros > 32:
                raise IndexError("no number is that long")
        return (1 << zeros) - 1 + self(zeros)

    def se(self) -> int:
        """Exp-Golomb, signed."""
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)

    def uvlc(self) -> int:
        """AV1 4.10.3, the same numbers as ue."""
        return self.ue()
