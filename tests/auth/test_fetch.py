"""Against a real server on this machine; what a name resolves to is said by the test."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from health_hub.auth import fetch as fetching
from health_hub.auth.fetch import Fetch, FetchError, JwkSets, fetch_json, public
from tests.certificates import pem, self_signed


def _two_ports() -> int:
    """A free port whose next one is free too; each worker of the tests has its own."""
    while True:
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            port = int(a.getsockname()[1])
            try:
                b.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


PORT = 0  # of the test that runs


@pytest.fixture(autouse=True)
def _ports() -> None:
    """Chosen at the start of each test: chosen at import, another test would have taken them minutes later."""
    global PORT
    PORT = _two_ports()


class Handler(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str]]] = []
    names: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        Handler.seen.append((self.path, self.headers["Host"]))
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _answer(self) -> None:
        kind, body, status, more = "application/json", b'{"keys":[]}', 200, {}
        match self.path:
            case "/html":
                kind, body = "text/html", b"<p>"
            case "/broken":
                body = b'{"keys":'
            case "/deep":
                body = b"[" * 200_000
            case "/list":
                body = b"[1]"
            case "/huge":
                body = b'{"a":"' + b"x" * 600_000 + b'"}'
            case "/jwk":
                kind = "application/jwk-set+json; charset=utf-8"
            case "/redirect":
                status, more = 302, {"Location": f"http://127.0.0.1:{PORT}/secret"}
            case "/gzip":
                more = {"Content-Encoding": "gzip"}
            case "/error":
                status = 500
            case "/slow":
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                for _ in range(30):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.1)
                return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _serve(port: int, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    Handler.seen.clear()
    Handler.names.clear()
    yield f"127.0.0.1:{port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def plain() -> Iterator[str]:
    yield from _serve(PORT)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key, made = self_signed(x509.DNSName("keys.example.vn"))
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM) + pem(key))
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[str]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    tls.sni_callback = lambda sock, name, context: Handler.names.append(name)  # type: ignore[assignment]
    yield from _serve(PORT + 1, tls)


class Names:
    """A name service that answers what it is told, one answer after another, and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "100.127.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "100::1",
    "2001::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1",
    "fe80::1%lo", "fec0::1", "ff02::1", "2606:4700::1111%eth0", "nonsense", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
async def test_no_address_but_a_public_one_is_asked(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not public(address)
    names = Names([address])
    with pytest.raises(FetchError, match="not a public one"):
        await Fetch(resolver=names).json("https://keys.example.vn/jwks")
    assert names.asked == 1


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "113.160.0.1", "2606:4700:4700::1111", "2405:4800::1"])
def test_public_addresses_are_public(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize("answer", [["8.8.8.8", "127.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["2606:4700::1111", "::1"]])
async def test_one_private_address_among_public_ones_is_refused(answer: list[str]) -> None:
    with pytest.raises(FetchError, match="not a public one"):
        await Fetch(resolver=Names(answer)).json("https://keys.example.vn/jwks")


@pytest.mark.parametrize("host", [
    "127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::]",
    "[0:0:0:0:0:ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost.", "１２７.0.0.1", "127。0。0。1",
])  # fmt: skip
async def test_no_spelling_of_loopback_reaches_it(host: str, secure: str) -> None:
    """With the machine's own name service, which knows decimal, octal and hexadecimal forms."""
    with pytest.raises(FetchError):
        await fetch_json(f"https://{host}:{PORT + 1}/jwks")
    assert not Handler.seen
    assert not Handler.names


@pytest.mark.parametrize("url", [
    "http://keys.example.vn/jwks", "ftp://keys.example.vn/", "file:///etc/passwd", "gopher://keys.example.vn/", "https:///x", "//x/y", "x",
    "https://user@keys.example.vn/", "https://user:pw@keys.example.vn/", "https://@keys.example.vn/", "https://keys.example.vn/#x",
    "https://keys.example.vn\\@127.0.0.1/", "https://keys.example.vn/a b", "https://keys.example.vn/\r\nX: y", "https://k/" + "x" * 3000,
    "https://keys.example.vn:99999/", "https://[::1/", "", "https://keys.example.vn/\x00",
])  # fmt: skip
async def test_what_is_no_plain_https_url_is_not_resolved(url: str) -> None:
    names = Names(["8.8.8.8"])
    with pytest.raises(FetchError):
        await Fetch(resolver=names).json(url)
    assert names.asked == 0


async def test_a_trusted_host_and_port_may_be_loopback_and_plain(plain: str) -> None:
    assert await fetch_json(f"http://{plain}/x", trusted_hosts=(plain,)) == {"keys": []}
    with pytest.raises(FetchError, match="only https"):
        await fetch_json(f"http://{plain}/x", trusted_hosts=(f"127.0.0.1:{PORT + 5}",))
    assert len(Handler.seen) == 1


async def test_trust_is_of_a_name_and_not_of_where_it_points(plain: str) -> None:
    with pytest.raises(FetchError):
        await Fetch((plain,), resolver=Names(["127.0.0.1"])).json(f"http://evil.example:{PORT}/x")
    with pytest.raises(FetchError, match="not a public one"):
        await Fetch((plain,), resolver=Names(["127.0.0.1"])).json(f"https://evil.example:{PORT}/x")
    assert not Handler.seen


async def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_asked(
    secure: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer would be another machine."""
    monkeypatch.setattr(fetching, "public", lambda a: a == "127.0.0.1")
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    tls = ssl.create_default_context(cafile=str(certificate))
    assert await Fetch(resolver=names, tls=tls).json(f"https://keys.example.vn:{PORT + 1}/jwks") == {"keys": []}
    assert names.asked == 1
    # The name, not the address, is what the server and its certificate are asked for.
    assert Handler.seen == [("/jwks", f"keys.example.vn:{PORT + 1}")]
    assert Handler.names == ["keys.example.vn"]


async def test_the_certificate_must_be_of_the_name(secure: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "public", lambda a: True)
    tls = ssl.create_default_context(cafile=str(certificate))
    with pytest.raises(FetchError, match="no answer"):
        await Fetch(resolver=Names(["127.0.0.1"]), tls=tls).json(f"https://other.example.vn:{PORT + 1}/jwks")
    with pytest.raises(FetchError, match="no answer"):
        await Fetch(resolver=Names(["127.0.0.1"])).json(f"https://keys.example.vn:{PORT + 1}/jwks")
    assert not Handler.seen


@pytest.mark.parametrize(("path", "why"), [
    ("/redirect", "redirects"), ("/html", "JSON type"), ("/broken", "not JSON"), ("/deep", "not JSON"), ("/list", "no JSON object"),
    ("/huge", "too long"), ("/gzip", "compressed"), ("/error", "status 500"),
])  # fmt: skip
async def test_what_is_no_short_json_answer_is_refused(plain: str, path: str, why: str) -> None:
    with pytest.raises(FetchError, match=why):
        await fetch_json(f"http://{plain}{path}", trusted_hosts=(plain,))
    assert len(Handler.seen) == 1


async def test_a_jwk_set_type_is_json(plain: str) -> None:
    assert await fetch_json(f"http://{plain}/jwk", trusted_hosts=(plain,)) == {"keys": []}


async def test_an_answer_that_drips_is_given_up(plain: str) -> None:
    began = time.monotonic()
    with pytest.raises(FetchError, match="in time"):
        await fetch_json(f"http://{plain}/slow", trusted_hosts=(plain,), timeout=0.4)
    assert time.monotonic() - began < 15


async def test_a_slow_name_service_is_given_up() -> None:
    async def slow(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(10)
        return []

    with pytest.raises(FetchError, match="in time"):
        await Fetch(resolver=slow, timeout=0.1).json("https://keys.example.vn/")


async def test_no_proxy_of_the_environment_is_used(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await fetch_json(f"http://{plain}/x", trusted_hosts=(plain,)) == {"keys": []}


async def test_the_next_address_of_a_name_is_tried_where_one_does_not_answer(plain: str) -> None:
    trusted = (f"two.example.vn:{PORT}",)
    names = Names(["127.0.0.77", "127.0.0.1"])
    assert await Fetch(trusted, resolver=names).json(f"http://two.example.vn:{PORT}/x") == {"keys": []}


class Source:
    def __init__(self) -> None:
        self.calls, self.kids, self.fails, self.now = 0, ["a"], False, 1000.0

    async def __call__(self, uri: str) -> dict[str, Any]:
        self.calls += 1
        await asyncio.sleep(0)
        if self.fails:
            raise FetchError("down")
        return {"keys": [{"kid": k} for k in self.kids]}


@pytest.fixture
def source() -> Source:
    return Source()


async def test_a_key_set_is_kept_and_fetched_again_when_old(source: Source) -> None:
    sets = JwkSets(source, max_age=300, clock=lambda: source.now)
    for _ in range(3):
        await sets.get("https://a/", "a")
    assert source.calls == 1
    source.now += 301
    await sets.get("https://a/", "a")
    assert source.calls == 2


async def test_an_unknown_key_id_fetches_again_but_not_at_every_request(source: Source) -> None:
    sets = JwkSets(source, again=10, clock=lambda: source.now)
    await sets.get("https://a/", "a")
    for n in range(50):
        await sets.get("https://a/", f"made-up-{n}")
    assert source.calls == 1
    source.now += 11
    source.kids = ["a", "b"]
    assert {"kid": "b"} in (await sets.get("https://a/", "b"))["keys"]
    assert source.calls == 2


async def test_many_who_ask_at_once_make_one_fetch(source: Source) -> None:
    sets = JwkSets(source, clock=lambda: source.now)
    await asyncio.gather(*(sets.get("https://a/", "a") for _ in range(20)))
    assert source.calls == 1


async def test_a_source_that_is_down_is_not_hammered(source: Source) -> None:
    source.fails = True
    sets = JwkSets(source, again=10, clock=lambda: source.now)
    for _ in range(5):
        with pytest.raises(FetchError):
            await sets.get("https://a/", "a")
    assert source.calls == 1
    source.fails, source.now = False, source.now + 11
    await sets.get("https://a/", "a")


async def test_key_sets_kept_are_bounded(source: Source) -> None:
    sets = JwkSets(source, most=3, clock=lambda: source.now)
    for n in range(10):
        await sets.get(f"https://{n}/")
    await sets.get("https://9/")
    assert source.calls == 10
    await sets.get("https://0/")
    assert source.calls == 11


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others(source: Source) -> None:
    sets = JwkSets(source, clock=lambda: source.now)
    first, second = asyncio.create_task(sets.get("https://a/")), asyncio.create_task(sets.get("https://a/"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == {"keys": [{"kid": "a"}]}
    assert source.calls == 1
