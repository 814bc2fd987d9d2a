"""A small parser of transport-wide feedback, written from the draft for the tests alone."""


def parse(packet: bytes) -> tuple[int, int, list[tuple[int, int | None]]]:
    """(sender, media, [(sequence, arrival in us or None)])."""
    assert packet[0] & 0xC0 == 0x80
    assert packet[0] & 0x1F == 15
    assert packet[1] == 205
    assert (int.from_bytes(packet[2:4], "big") + 1) * 4 == len(packet)
    end = len(packet) - (packet[-1] if packet[0] & 0x20 else 0)
    base, count = int.from_bytes(packet[12:14], "big"), int.from_bytes(packet[14:16], "big")
    clock = int.from_bytes(packet[16:19], "big") * 64_000
    position = 20
    symbols: list[int] = []
    while len(symbols) < count:
        chunk = int.from_bytes(packet[position : position + 2], "big")
        position += 2
        if not chunk >> 15:
            symbols += [chunk >> 13 & 3] * (chunk & 0x1FFF)
        elif chunk >> 14 & 1:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    arrivals: list[tuple[int, int | None]] = []
    for place, symbol in enumerate(symbols[:count]):
        if symbol == 0:
            arrivals.append((base + place & 0xFFFF, None))
            continue
        width = symbol
        delta = int.from_bytes(packet[position : position + width], "big", signed=width == 2)
        position += width
        clock += delta * 250
        arrivals.append((base + place & 0xFFFF, clock))
    assert position == end, (position, end)
    return int.from_bytes(packet[4:8], "big"), int.from_bytes(packet[8:12], "big"), arrivals
