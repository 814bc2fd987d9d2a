"""A client's keys at its jwks_uri: fetched from where it registered, and from nowhere inside."""

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from joserfc.jwk import ECKey

from bench.processes import free_port
from health_hub.auth import jose
from health_hub.auth.clients import JWT_BEARER
from health_hub.auth.fetch import Fetch, JwkSets
from health_hub.auth.model import Client
from health_hub.auth.routes import revoke
from health_hub.store.store import Store
from tests.auth.door import ISSUER, Door, door
from tests.auth.test_introspection import Kept

PORT = free_port()
KEY = ECKey.generate_key("P-384", parameters={"kid": "k1"})


class Keys(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    keys: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        Keys.asked.append(self.path)
        body = json.dumps({"keys": Keys.keys}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def served() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Keys)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    Keys.asked.clear()
    Keys.keys[:] = [dict(KEY.as_dict(private=False))]
    yield f"127.0.0.1:{PORT}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def hub(store: Store) -> AsyncIterator[Door]:
    d = await door(store, lambda a: revoke.router(a, Kept()))
    yield d
    await d.authority.stop()


async def _asserted(d: Door, client: Client, jti: str, key: ECKey = KEY, **head: str) -> int:
    now = int(time.time())
    claims = {"iss": client.id, "sub": client.id, "aud": f"{ISSUER}/auth/token", "exp": now + 60, "jti": jti}
    assertion = jose.sign({"alg": "ES384", "kid": "k1"} | head, claims, key)
    data = {"token": "x", "client_assertion_type": JWT_BEARER, "client_assertion": assertion}
    return (await d.ask("POST", "/auth/revoke", data=data)).status_code


async def _client(d: Door, uri: str, trusted: Sequence[str] = (), **more: Any) -> Client:
    d.authority.fetch = Fetch(trusted, **more)
    d.authority.clients.fetch_jwks = JwkSets(d.authority.fetch.json).fresh
    return (await d.client(token_endpoint_auth_method="private_key_jwt", grant_types=("client_credentials",), jwks_uri=uri))[0]


async def test_a_client_proves_itself_by_a_key_of_its_jwks_uri(hub: Door, served: str) -> None:
    client = await _client(hub, f"http://{served}/jwks", (served,))
    assert [await _asserted(hub, client, f"j{n}") for n in range(3)] == [200, 200, 200]
    assert await _asserted(hub, client, "j0") == 401  # jti used before
    assert Keys.asked == ["/jwks"]


async def test_made_up_key_ids_do_not_make_the_server_fetch_again_and_again(hub: Door, served: str) -> None:
    client = await _client(hub, f"http://{served}/jwks", (served,))
    assert [await _asserted(hub, client, f"j{n}", kid=f"made-up-{n}") for n in range(5)] == [401] * 5
    assert len(Keys.asked) == 1


async def test_a_strangers_key_set_named_in_the_assertion_is_not_fetched(hub: Door, served: str) -> None:
    stranger = ECKey.generate_key("P-384")
    client = await _client(hub, f"http://{served}/jwks", (served,))
    assert await _asserted(hub, client, "j1", stranger, jku=f"http://{served}/evil") == 401
    assert "/evil" not in Keys.asked


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost", "keys.example.vn"])
async def test_no_key_set_is_fetched_from_inside(hub: Door, served: str, host: str) -> None:
    """Registered, as an administrator may by mistake; the check is where the connection is made."""

    async def resolver(name: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    more = {"resolver": resolver} if host == "keys.example.vn" else {}
    for scheme in ("http", "https"):
        client = await _client(hub, f"{scheme}://{host}:{PORT}/jwks", **more)
        assert await _asserted(hub, client, "j1") == 401
    assert not Keys.asked
