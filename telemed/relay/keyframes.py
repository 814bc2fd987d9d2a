"""Which payloads begin a picture that a decoder can start with, by codec; nothing is decoded for it."""

from collections.abc import Callable
from typing import Final

from telemed.wire import av1, h264, vp8, vp9

# By the codec's name in lower case. None raises; what cannot be read begins nothing.
KEYFRAMES: Final[dict[str, Callable[[memoryview], bool]]] = {
    "vp8": vp8.keyframe, "vp9": vp9.keyframe, "h264": h264.keyframe, "av1": av1.keyframe,
}  # fmt: skip
