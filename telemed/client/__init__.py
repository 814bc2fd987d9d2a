"""A client in Python on aiortc, for tests, devices and load: `async with Client(url, token) as c`, `whip.publish`, `whep.watch`."""

from telemed.client.client import Client, Event
from telemed.client.media import Received
from telemed.client.raw import RawTrack
from telemed.client.signalling import Ended, Refused

__all__ = ["Client", "Ended", "Event", "RawTrack", "Received", "Refused"]
