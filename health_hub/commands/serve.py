"""`health-hub serve`: the HTTP server, one process or several."""

import argparse
import asyncio
import os
import signal
import sys
from dataclasses import replace
from typing import Any

from health_hub.commands.beside import Beside
from health_hub.commands.relay import CHILD
from health_hub.settings import PREFIX, SettingError, Settings
from telemed.settings import loopback

# Requests under way get this long after SIGTERM; an upload or a large transaction may take longer and is then cut.
DRAIN_SECONDS = 30
WS_BYTES = 1 << 20  # of one WebSocket message; the relay refuses smaller ones in its own words
NO_ADDRESS = """\
Chưa khởi động: máy chủ nghe ở {host} cần biết địa chỉ mà người dùng thấy, ví dụ HEALTH_HUB_BASE_URL=https://hub.example.vn/fhir
Not started: listening on {host}, the server must know the address that clients see, e.g. HEALTH_HUB_BASE_URL=https://hub.example.vn/fhir"""
OPEN = """\
****************************************************************************************************
  CẢNH BÁO: máy chủ đang chạy KHÔNG KIỂM SOÁT TRUY CẬP (--no-auth).
  Bất kỳ ai dùng máy này đều đọc và sửa được mọi hồ sơ. Không dùng với dữ liệu bệnh nhân thật.
  WARNING: the server runs WITHOUT ACCESS CONTROL (--no-auth).
  Anyone on this machine can read and change every record. Not for real patients' data.
****************************************************************************************************"""


ADDRESS = "  Địa chỉ / Address:  {url}/        API FHIR R4:  {url}/fhir"
TRY = "\n  Thử / Try:          {url}/fhir/Patient?name=nguyen&_pretty=true"
PROGRAMS = "  Ứng dụng dùng thử / demo applications (client_id, client_secret):"
ROOM = "  Phòng khám từ xa, mở hai cửa sổ / a video room, open it in two windows:  {url}/telemed/room#room=demo"
CONSULT = """\
  Khám từ xa / video consultation:  {url}{path}
    mở bằng bacsi.demo (chọn bvdk-tinh) trong một cửa sổ, benhnhan.demo trong cửa sổ riêng tư; bác sĩ cho bệnh nhân vào
    open it as bacsi.demo (choose bvdk-tinh) in one window, as benhnhan.demo in a private one; the doctor lets the patient in"""
SIGN_INS = "  Tài khoản dùng thử / demo sign-ins (mật khẩu / password):"


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    defaults = Settings()
    p = commands.add_parser("serve", parents=[shared], help="run the FHIR server", description=__doc__)
    p.add_argument("--host", help=f"address to listen on (default {defaults.host})")
    p.add_argument("--port", type=int, help=f"port to listen on (default {defaults.port})")
    p.add_argument("--workers", type=int, metavar="N", help="server processes; more than one needs PostgreSQL (default 1)")
    p.add_argument("--demo", action="store_true", default=None, help="load demo records of a province on the first start")
    p.add_argument("--no-auth", dest="auth", action="store_false", default=None, help="no access control; on a loopback address only")
    p.add_argument("--no-relay", dest="relay", action="store_false", default=None, help="no relay for video consultations beside the API")
    p.add_argument("--log-level", choices=("critical", "error", "warning", "info", "debug"), help="(default info)")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    settings = Settings.load(db=args.db, host=args.host, port=args.port, workers=args.workers, demo=args.demo, auth=args.auth,
                             log_level=args.log_level, relay=args.relay)
    refusal = refuse(settings)
    if refusal:
        print(refusal, file=sys.stderr)
        return 2
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    if settings.auth and not settings.base_url:
        settings = replace(settings, base_url=f"{url}/fhir")
    if not settings.auth:
        print(OPEN, file=sys.stderr, flush=True)
    print((ADDRESS if settings.auth else ADDRESS + TRY).format(url=url), file=sys.stderr, flush=True)
    keyless = settings.relay and not settings.key and not settings.relay_secret
    kept = b""
    if settings.demo or settings.workers > 1 or keyless:
        lines, kept = asyncio.run(prepare(settings, url))
        for line in lines:
            print(line, file=sys.stderr, flush=True)
    # Worker processes read their settings from the environment, as this one did.
    beside: Beside | None = None
    if settings.relay:
        from health_hub.consult import relays

        settings = replace(settings, relay_secret=relays.secret(settings, kept))
    for name in ("db", "host", "port", "workers", "base_url", "demo", "auth", "log_level", "relay", "relay_secret"):
        value = getattr(settings, name)
        os.environ[PREFIX + name.upper()] = str(int(value)) if isinstance(value, bool) else str(value)
    if settings.relay:
        beside = Beside([sys.executable, "-m", "health_hub.cli", "relay"], {**os.environ, CHILD: "1"}, "relay")
        beside.start()
    try:
        return listen(settings)
    finally:
        if beside is not None:
            beside.stop()


def refuse(settings: Settings) -> str | None:
    """Why the server may not start with these settings, in both languages; None when it may."""
    if settings.auth and not settings.base_url and not loopback(settings.host):
        return NO_ADDRESS.format(host=settings.host)
    if not settings.auth and not loopback(settings.host):
        return (f"--no-auth chỉ dùng được với địa chỉ loopback (127.0.0.1, ::1, localhost), không phải {settings.host}.\n"
                f"--no-auth is allowed on a loopback address only (127.0.0.1, ::1, localhost), not on {settings.host}.")
    if settings.workers < 1:
        raise SettingError("--workers is at least 1")
    if settings.workers > 1 and settings.db.startswith("sqlite"):
        return ("Nhiều tiến trình (--workers) cần PostgreSQL; SQLite chỉ chạy một tiến trình.\n"
                "Several workers need PostgreSQL; on SQLite there is one.")
    return None


async def prepare(settings: Settings, url: str) -> tuple[list[str], bytes]:
    """Before any worker starts: create or upgrade the database, and load the demo records once.

    What is to be printed of it, and the database's own secret. url: of the hub, as it listens.
    """
    from health_hub.store.store import Store

    store = await Store.open(settings.db, **settings.store())
    try:
        if not settings.demo:
            return [], store.secret
        from health_hub import demo
        from health_hub.demo.accounts import demo_accounts, demo_clients

        await demo.load(store)
        if not settings.auth:
            return [ROOM.format(url=url)] if settings.relay else [], store.secret
        consultation = await demo.consultation(store)
        people = [f"    {d.role:<14} {d.login:<18} {d.password:<52} {d.note}" for d in await demo_accounts(store)]
        programs = [f"    {d.client.id:<33} {d.secret or '-':<52} {d.client.client_name}" for d in await demo_clients(store)]
        link = [CONSULT.format(url=url, path=f"/consult/{consultation}")] if settings.relay else []
        return [SIGN_INS, *people, PROGRAMS, *programs, *link], store.secret
    finally:
        await store.close()


def listen(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then let the requests under way finish. A worker that dies is replaced."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from health_hub.rest.protocol import HttpProtocol

    config = uvicorn.Config(
        "health_hub.app:create", factory=True, host=settings.host.strip("[]"), port=settings.port, workers=settings.workers,
        loop="uvloop" if sys.platform != "win32" else "asyncio", http=HttpProtocol, lifespan="on",
        # Consultations' signalling; whether a browser is there is asked by its own messages, which bad links are given more time for.
        ws="websockets-sansio", ws_max_size=WS_BYTES, ws_ping_interval=None,
        log_level=settings.log_level, access_log=settings.log_level == "debug", server_header=False, date_header=True,
        # Who is asked for the client's address; else everyone behind a proxy would be one address to the limits of signing in.
        proxy_headers=bool(settings.trusted_proxies), forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=DRAIN_SECONDS, timeout_keep_alive=75, backlog=2048,
    )
    # uvicorn hands the signal on when it has drained; asked to end is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if settings.workers == 1:
        server = uvicorn.Server(config)
        server.run()
        return 0 if server.started else 1
    Multiprocess(config, sockets=[config.bind_socket()]).run()
    return 0
