"""An authorization server whose endpoints are asked over HTTP, and what happened told to the test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI

from health_hub.auth.audit import AuthEvent
from health_hub.auth.authority import Authority
from health_hub.auth.model import Account, Client
from health_hub.settings import Settings
from health_hub.store.store import Store

ISSUER = "https://hub.example.vn"


@dataclass
class Door:
    authority: Authority
    app: FastAPI
    events: list[AuthEvent] = field(default_factory=list)

    def from_(self, address: str = "198.51.100.7") -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app, client=(address, 4000)), base_url=ISSUER)

    async def ask(self, method: str, path: str, *, address: str = "198.51.100.7", token: str | None = None, **more: Any) -> httpx.Response:
        headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        async with self.from_(address) as client:
            return await client.request(method, path, headers=headers, **more)

    async def client(self, **fields: Any) -> tuple[Client, str]:
        given = {"client_name": "Ứng dụng", "grant_types": ("authorization_code", "refresh_token"), "scope": "openid patient/*.rs",
                 "token_endpoint_auth_method": "client_secret_basic", "redirect_uris": ("https://app.example.vn/cb",)} | fields  # fmt: skip
        return await self.authority.clients.create(Client(id="", **given))

    async def account(self, login: str = "bn.hoa") -> Account:
        return await self.authority.accounts.add(login, "patient", fhir_user="Patient/bn-001")


async def door(store: Store, *routers: Callable[[Authority], APIRouter], **settings: Any) -> Door:
    """`await d.authority.stop()` when done."""
    authority = Authority(store, Settings.load({}, base_url=f"{ISSUER}/fhir", **settings))
    await authority.start()
    app = FastAPI()
    for router in routers:
        app.include_router(router(authority))
    found = Door(authority, app)

    async def told(event: AuthEvent) -> None:
        found.events.append(event)

    authority.audit = told
    return found
