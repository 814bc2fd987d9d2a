"""The consult room as a web page: plain HTML, CSS and ES modules, served with headers that let nothing foreign in."""

from telemed.page.serve import POLICY, room, routes

__all__ = ["POLICY", "room", "routes"]
