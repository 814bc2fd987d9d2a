"""The directory that an address names."""

from telemed.directory.ports import Directory
from telemed.directory.postgresql import PostgresDirectory
from telemed.directory.sqlite import SqliteDirectory


def directory(url: str) -> Directory:
    """`sqlite:///PATH` or `postgresql://...`; not yet opened.

    Raises ValueError.
    """
    if url.startswith("sqlite:///"):
        return SqliteDirectory(url.removeprefix("sqlite:///"))
    if url.startswith(("postgresql://", "postgres://")):
        return PostgresDirectory(url)
    raise ValueError("a directory is sqlite:///path or postgresql://user@host/name")
