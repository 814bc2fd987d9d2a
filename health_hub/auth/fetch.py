"""The one way out of the authorization server: https to public addresses, nowhere else.

A name is resolved once, every address it has must be public, and the connection goes to one of those very addresses (a second
answer of the name server changes nothing); the certificate and Host are still the name's. No redirect, no proxy, bounded in size
and time. HOST:PORT in HEALTH_HUB_TRUSTED_HOSTS may be any address, and plain http.
"""

import asyncio
import ipaddress
import json
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

URL_MAX = 2048  # characters
LIMIT = 256 * 1024  # bytes of an answer
TIMEOUT = 5.0  # seconds for all of it, name and connection too
AT_ONCE = 16  # fetches of a process; further ones wait within their time
# Not the Internet, or a way from it into a network: RFC 6890's registries, transition mechanisms that carry an IPv4 address inside.
_CLOSED = tuple(ipaddress.ip_network(n) for n in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
))  # fmt: skip
_UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out: ::ffff:0:0/96, 64:ff9b::/96, fc00::/7, fe80::/10 are not in it

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class FetchError(Exception):
    """Nothing was fetched; the text says why and repeats nothing of the answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = ""


def public(address: str) -> bool:
    """Whether an address is one of the Internet's, and of no other kind."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip not in _UNICAST or ip.scope_id is not None):
        return False
    return not any(ip.version == n.version and ip in n for n in _CLOSED) and ip.is_global


async def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a name. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


class Fetch:
    """One a process. `tls`: whose certificates are believed (the system's); `resolver`: the name service."""

    def __init__(
        self, trusted_hosts: Collection[str] = (), *, limit: int = LIMIT, timeout: float = TIMEOUT, resolver: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._trusted = frozenset(h.lower() for h in trusted_hosts)
        self._limit, self._timeout, self._resolve, self._tls = limit, timeout, resolver, tls
        self._at_once = asyncio.Semaphore(AT_ONCE)

    def check(self, url: str) -> httpx.URL:
        """The URL parsed, when it may be asked at all; its addresses are looked at when it is. Raises FetchError."""
        try:
            parsed = httpx.URL(url) if len(url) <= URL_MAX and url.isascii() and url.isprintable() else None
        except httpx.InvalidURL:
            parsed = None
        if parsed is None or not parsed.host or " " in url or "\\" in url or not 0 < _port(parsed) < 65536:
            raise FetchError("not a URL that can be fetched")
        if "@" in urlsplit(url).netloc or "#" in url:
            raise FetchError("a URL that is fetched has no user and no fragment")
        if parsed.scheme != "https" and not (parsed.scheme == "http" and self._is_trusted(parsed)):
            raise FetchError("only https is fetched")
        return parsed

    async def __call__(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """What a URL answers, whatever its status, redirects as they are. Raises FetchError."""
        parsed = self.check(url)
        try:
            async with asyncio.timeout(self._timeout), self._at_once:
                return await self._ask(parsed, method, {**(headers or {})}, body)
        except TimeoutError:
            raise FetchError("no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as e:
            raise FetchError(f"no answer: {type(e).__name__}") from None

    async def json(self, url: str) -> dict[str, Any]:
        """The JSON object at a URL. Raises FetchError."""
        answer = await self(url, headers={"Accept": "application/json"})
        if answer.status != 200:
            raise FetchError("redirects are not followed" if 300 <= answer.status < 400 else f"status {answer.status}")
        kind = answer.content_type.partition(";")[0].strip().lower()
        if not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
            raise FetchError("the answer is not of a JSON type")
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise FetchError("the answer is not JSON") from None
        if not isinstance(value, dict):
            raise FetchError("the answer is no JSON object")
        return value

    def _is_trusted(self, url: httpx.URL) -> bool:
        return f"{_host(url)}:{_port(url)}" in self._trusted

    async def _addresses(self, url: httpx.URL) -> Sequence[str]:
        host = url.raw_host.decode("ascii")
        found = await self._resolve(host, _port(url))
        if not found:
            raise FetchError("the name has no address")
        # One private address among public ones is a name made to be tried until it hits.
        if not self._is_trusted(url) and not all(public(a) for a in found):
            raise FetchError("the address is not a public one")
        return found

    async def _ask(self, url: httpx.URL, method: str, headers: dict[str, str], body: bytes | None) -> Answer:
        addresses = await self._addresses(url)
        headers |= {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "health-hub"}
        extensions = {"sni_hostname": url.raw_host.decode("ascii")}
        async with httpx.AsyncClient(
            verify=self._tls or _trust(), trust_env=False, follow_redirects=False, timeout=self._timeout, max_redirects=0
        ) as client:
            for last, address in ((a is addresses[-1], a) for a in addresses):
                try:
                    async with client.stream(
                        method, url.copy_with(host=address.partition("%")[0]), headers=headers, content=body, extensions=extensions
                    ) as answer:
                        return await self._read(answer)
                except httpx.ConnectError:
                    if last:
                        raise
        raise FetchError("no answer")

    async def _read(self, answer: httpx.Response) -> Answer:
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise FetchError("the answer is compressed")
        body = bytearray()
        async for part in answer.aiter_raw():
            body += part
            if len(body) > self._limit:
                raise FetchError("the answer is too long")
        return Answer(answer.status_code, bytes(body), answer.headers.get("content-type", ""))


def _host(url: httpx.URL) -> str:
    host = url.raw_host.decode("ascii").lower()
    return f"[{host}]" if ":" in host else host


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


async def fetch_json(url: str, *, trusted_hosts: Collection[str] = (), limit: int = LIMIT, timeout: float = TIMEOUT) -> dict[str, Any]:
    """One JSON object, `limit` bytes and `timeout` seconds at most. Raises FetchError."""
    return await Fetch(trusted_hosts, limit=limit, timeout=timeout).json(url)


class JwkSets:
    """JWK Sets by their URI, kept `max_age` seconds; looked at again for a key id not in them, once in `again` seconds at most.

    A URI that failed is not asked again for `again` seconds either. One fetch a URI is under way at a time; `most` URIs are kept.
    """

    def __init__(
        self, fetch: Callable[[str], Awaitable[dict[str, Any]]], *, max_age: float = 300, again: float = 10, most: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._fetch, self._max_age, self._again, self._most, self._clock = fetch, max_age, again, most, clock
        self._kept: OrderedDict[str, tuple[float, dict[str, Any] | FetchError]] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[dict[str, Any]]] = {}

    async def get(self, uri: str, kid: str | None = None) -> dict[str, Any]:
        """The set, newly fetched where the kept one is too old or lacks `kid`. Raises FetchError."""
        at, found = self._kept.get(uri, (0.0, None))
        if isinstance(found, dict) and self._clock() - at < self._max_age and (kid is None or _has(found, kid)):
            return found
        return await self.fresh(uri)

    async def fresh(self, uri: str) -> dict[str, Any]:
        """The set as it is now, or as it was at most `again` seconds ago. Raises FetchError."""
        at, found = self._kept.get(uri, (0.0, None))
        if found is not None and self._clock() - at < self._again:
            if isinstance(found, FetchError):
                raise found
            return found
        task = self._under_way.get(uri)
        if task is None:
            task = self._under_way[uri] = asyncio.create_task(self._bring(uri))
            task.add_done_callback(lambda _: self._under_way.pop(uri, None))
        # One who gives up waiting does not take it from the others.
        return await asyncio.shield(task)

    async def _bring(self, uri: str) -> dict[str, Any]:
        try:
            found = await self._fetch(uri)
            if not isinstance(found.get("keys"), list):
                raise FetchError("no JWK Set")
        except FetchError as e:
            self._keep(uri, FetchError(str(e)))
            raise
        self._keep(uri, found)
        return found

    def _keep(self, uri: str, found: dict[str, Any] | FetchError) -> None:
        self._kept[uri] = (self._clock(), found)
        self._kept.move_to_end(uri)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


def _has(found: dict[str, Any], kid: str) -> bool:
    return any(isinstance(k, dict) and k.get("kid") == kid for k in found["keys"])
