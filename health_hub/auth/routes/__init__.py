"""The endpoints that applications speak to, one file each; pages for people are in web/."""

from functools import partial

from fastapi import APIRouter

from health_hub.auth.authority import Authority
from health_hub.auth.request import validate
from health_hub.auth.routes import device, discovery, introspect, par, register, revoke, token, userinfo


def routers(authority: Authority) -> list[APIRouter]:
    return [
        discovery.router(authority),
        token.router(authority),
        userinfo.router(authority),
        par.router(authority, partial(validate, authority)),
        device.router(authority, authority.devices),
        introspect.router(authority, authority.families),
        revoke.router(authority, authority.families),
        register.router(authority),
    ]
