"""The directory that an address names, and the agent that a relay's settings ask for."""

from telemed.directory.agent import Agent
from telemed.directory.ports import Directory
from telemed.directory.postgresql import PostgresDirectory
from telemed.directory.sqlite import SqliteDirectory
from telemed.settings import Settings


def directory(url: str) -> Directory:
    """`sqlite:///PATH` or `postgresql://...`; not yet opened.

    Raises ValueError.
    """
    if url.startswith("sqlite:///"):
        return SqliteDirectory(url.removeprefix("sqlite:///"))
    if url.startswith(("postgresql://", "postgres://")):
        return PostgresDirectory(url)
    raise ValueError("a directory is sqlite:///path or postgresql://user@host/name")


def agent(settings: Settings) -> Agent | None:
    """What goes between server and application: `create(relay, settings, agent.sink, ...)`, then serve `agent.attach(app, relay)`.

    None: the relay is alone. Raises ValueError for an address that names no directory.
    """
    if not settings.directory:
        return None
    here = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
    return Agent(directory(settings.directory), settings, node=settings.node or here, address=settings.address or here)
