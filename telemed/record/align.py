"""Where each track lies on the recording's time line, and the index as it is kept."""

from telemed.record.index import Index

TRUSTED = 2.0  # seconds a sender's own clocks may move a track from where its packets arrived
INNER = ("cues", "state", "arrived", "rtp", "report", "closed")  # needed while writing only


def align(index: Index) -> None:
    """Gives each track with a file its "offset": seconds from the recording's start to the track's time 0.

    Arrivals are late by what the network and its jitter took. Tracks of one participant are put to each other as the sender's
    reports say (RFC 3550 6.4.1), and together to where the least late of them arrived.
    """
    groups: dict[str, list[float]] = {}
    for track in index["tracks"]:
        if track.get("file") and "arrived" in track:
            track["offset"] = track["arrived"]
            if track.get("report"):
                ntp, rtp = track["report"]
                ticks = (rtp - track["rtp"] + 0x80000000 & 0xFFFFFFFF) - 0x80000000
                track["sent"] = ntp - ticks / track["clock"]
                groups.setdefault(track["participant"], []).append(track["arrived"] - track["sent"])
    for track in index["tracks"]:
        if "sent" in track:
            offset = track.pop("sent") + min(groups[track["participant"]])
            if abs(offset - track["arrived"]) < TRUSTED:
                track["offset"] = offset
        if "offset" in track:
            track["offset"] = round(track["offset"], 3)
        for name in INNER:
            track.pop(name, None)
