"""What parsers take: bytes, or a view into a larger buffer."""

from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
