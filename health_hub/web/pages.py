"""The index page and the state of the server, for people and for what watches it."""

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse

from health_hub import __version__

log = logging.getLogger(__name__)

_INDEX = """<!doctype html>
<html lang="vi">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Health Hub</title>
<style>
body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; color: #1d2733; background: #fff }}
a {{ color: #00588a }} code {{ background: #eef2f5; padding: .1em .3em; border-radius: .2em }} [lang=en] {{ color: #4a5765 }}
</style>
</head>
<body>
<h1>Health Hub</h1>
<p>Cổng liên thông hồ sơ sức khoẻ theo chuẩn HL7 FHIR R4 (4.0.1), phần mềm nguồn mở.</p>
<ul>
<li><a href="fhir/metadata?_format=json&amp;_pretty=true">Năng lực của máy chủ</a> (CapabilityStatement)</li>
<li>Địa chỉ API: <code>/fhir</code>, ví dụ
<a href="fhir/Patient?name=nguyen&amp;_pretty=true"><code>/fhir/Patient?name=nguyen</code></a></li>
<li>Tình trạng: <a href="health/ready">sẵn sàng</a>, <a href="health/live">đang chạy</a></li>
</ul>
<div lang="en">
<p>A health record exchange by HL7 FHIR R4 (4.0.1), open source.</p>
<ul>
<li><a href="fhir/metadata?_format=json&amp;_pretty=true">What this server can do</a> (CapabilityStatement)</li>
<li>API address: <code>/fhir</code>, for instance
<a href="fhir/Patient?name=nguyen&amp;_pretty=true"><code>/fhir/Patient?name=nguyen</code></a></li>
<li>State: <a href="health/ready">ready</a>, <a href="health/live">live</a></li>
</ul>
</div>
<p><small>{version}</small></p>
</body>
</html>
"""
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def pages(ready: Callable[[], Awaitable[None]]) -> FastAPI:
    """`ready` raises unless the database answers."""
    web = FastAPI(title="Health Hub", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)

    @web.get("/", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        return HTMLResponse(_INDEX.format(version=__version__), headers=_PAGE_HEADERS)

    @web.get("/health/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @web.get("/health/ready")
    async def state() -> JSONResponse:
        """The database answers too."""
        try:
            await ready()
        except Exception as e:
            log.warning("not ready: %r", e)
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ok"})

    return web
