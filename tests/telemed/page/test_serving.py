"""How the page is served: what it may load, what browsers keep, and that every file and text it names is there."""

import re

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from telemed.page import room, routes
from telemed.page.files import FOLDER, files


async def _consult(request: Request) -> Response:
    return room(request, join='/consult/7/join?a="b"&c', back="/home", connect=["wss://relay2.example.vn"])


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = Starlette(routes=[*routes(), Route("/consult", _consult)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub")


async def test_the_policy_lets_nothing_in(client: httpx.AsyncClient) -> None:
    answer = await client.get("/telemed/room")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "connect-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?://", answer.text)


async def test_every_file_that_the_page_names_is_kept_for_a_year(client: httpx.AsyncClient) -> None:
    page = (await client.get("/telemed/room")).text
    named = set(re.findall(r'(?:href|src)="(/telemed/page/[^"]+)"', page))
    assert {n.rsplit("/", 1)[1] for n in named} == {f.name for f in FOLDER.iterdir() if f.suffix != ".html"}
    for name in named:
        answer = await client.get(name)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.content == (FOLDER / name.rsplit("/", 1)[1]).read_bytes()


async def test_a_file_without_a_version_is_asked_for_anew(client: httpx.AsyncClient) -> None:
    first = await client.get("/telemed/page/main.js", headers={"Accept-Encoding": "identity"})
    assert first.headers["cache-control"] == "no-cache"
    assert "content-encoding" not in first.headers
    again = await client.get("/telemed/page/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    old = await client.get("/telemed/page/0123456789ab/main.js")
    assert old.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/telemed/page/room.html", "/telemed/page/none.js", "/telemed/page/..%2Fserve.py", "/telemed/page/v/..%2f__init__.py"]
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_the_hub_says_where_to_join(client: httpx.AsyncClient) -> None:
    answer = await client.get("/consult")
    assert '<meta name="join" content="/consult/7/join?a=&quot;b&quot;&amp;c">' in answer.text
    assert '<meta name="back" content="/home">' in answer.text
    assert "connect-src 'self' wss://relay2.example.vn;" in answer.headers["content-security-policy"]
    assert "{{" not in answer.text


def test_every_text_exists_in_both_languages() -> None:
    source = (FOLDER / "texts.js").read_text("utf-8")
    texts = dict(re.findall(r'^  "([\w.-]+)": \[(.*?)\],$', source, re.MULTILINE | re.DOTALL))
    assert len(texts) > 150
    for key, value in texts.items():
        both = re.findall(r'"((?:[^"\\]|\\.)*)"', value)
        assert len(both) == 2, key
        assert all(both), key
        places = [sorted(re.findall(r"\{\w+\}", text)) for text in both]
        assert places[0] == places[1], key
    used = set(re.findall(r'data-t(?:-\w+)?="([^"]+)"', files().template))
    for path in FOLDER.glob("*.js"):
        used |= set(re.findall(r'\bt\("([\w.-]+)"', path.read_text("utf-8")))
    assert not used - set(texts)
