"""`/telemed/ws`: from a connection to a session, and from a message to what the room does about it."""

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.websockets import WebSocket

from telemed.metrics import Metrics
from telemed.ports import Published
from telemed.rooms.participant import stamp
from telemed.rooms.refused import Refused
from telemed.rooms.registry import Rooms
from telemed.rooms.roles import DEFAULTS, Role
from telemed.rooms.room import REPLACED_TEXT, encode
from telemed.settings import Settings
from telemed.signal import messages as m
from telemed.signal.bucket import Bucket
from telemed.signal.connection import CLOSE_SECONDS, Connection, Transport
from telemed.signal.once import Once, digest
from telemed.signal.session import Session
from telemed.signal.texts import CLOSES, text
from telemed.tokens import JOIN_SECONDS, LEEWAY, Identity, TokenError, Tokens, valid_id

log = logging.getLogger(__name__)
RATE_PATIENCE = 200  # messages refused in a row for their rate


class Server:
    """All connections of one relay process. `now`: seconds since 1970, `ticks`: a steady clock."""

    def __init__(
        self,
        rooms: Rooms,
        tokens: Tokens,
        settings: Settings,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rooms, self._tokens, self._settings, self._metrics, self._now, self._ticks = rooms, tokens, settings, metrics, now, ticks
        self._once = Once(now, JOIN_SECONDS + 2 * LEEWAY)
        self._pending: dict[Connection, None] = {}  # in the order in which they came
        self._connections: set[Connection] = set()
        self._closing: dict[Transport, float] = {}  # closed by us and until when the client may answer that, oldest first

    @property
    def connections(self) -> tuple[int, int]:
        """With and without hello."""
        return len(self._connections) - len(self._pending), len(self._pending)

    async def endpoint(self, socket: WebSocket) -> None:
        """One WebSocket from accept to close."""
        if not self._settings.admits(socket.headers.get("origin")):
            await socket.close()  # before accept: 403
            return
        s, now = self._settings, self._ticks()
        connection = Connection(
            socket, socket.scope.get("telemed.transport"), (s.backlog_bytes, s.backlog_messages), Bucket(s.rate, s.burst, now), self._ticks
        )
        while len(self._pending) >= s.pending:  # the oldest makes room: a flood of silent ones keeps nobody out who speaks at once
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.abort(1013)
        self._pending[connection] = None
        self._connections.add(connection)
        writer: asyncio.Task[None] | None = None
        try:
            await socket.accept()
            writer = asyncio.create_task(connection.write())
            reader = connection.reader = asyncio.create_task(self._read(connection))
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        finally:
            self._pending.pop(connection, None)
            self._connections.discard(connection)
            self._lost(connection)
            if writer is not None:
                await connection.end(writer)
            if connection.code is not None:
                self._linger(connection.transport)
                self._metrics.count("telemed_closes_total", code=str(connection.code))

    def _linger(self, transport: Transport | None) -> None:
        """Gives a client whom we closed time to answer, as RFC 6455 7.1.1 asks; never more of them than may be pending.

        The server waits longer by itself, and for any number: a flood that never answers would take all descriptors.
        """
        if transport is not None:
            self._closing[transport] = self._ticks() + CLOSE_SECONDS
        while len(self._closing) > self._settings.pending:
            self._cut(next(iter(self._closing)))

    def _cut(self, transport: Transport) -> None:
        del self._closing[transport]
        transport.abort()  # nothing when it is closed already

    async def _read(self, connection: Connection) -> None:
        while connection.code is None:
            event = await connection.socket.receive()
            if event["type"] != "websocket.receive":
                return
            connection.heard = now = self._ticks()
            raw = event.get("text")
            if raw is None:
                self._fail(connection, "bad-message", "binary")
            elif len(raw) > self._settings.message_bytes or (
                4 * len(raw) > self._settings.message_bytes and len(raw.encode("utf-8", "surrogatepass")) > self._settings.message_bytes
            ):
                self._fail(connection, "too-long", "message")
            elif connection.bucket.take(now):
                connection.over_rate = 0
                self._message(connection, raw)
            else:
                connection.over_rate += 1
                if connection.over_rate >= RATE_PATIENCE:
                    self._fail(connection, "rate")
                elif connection.over_rate == 1:
                    self._error(connection, "rate")

    def _lost(self, connection: Connection) -> None:
        session, connection.session = connection.session, None
        if session is not None and session.connection is connection:
            session.connection = None
            session.room.link_lost(session.who)

    def tick(self) -> None:
        """Each half second: who never said hello, who fell silent, whose resume token is half over."""
        s, now, wall = self._settings, self._ticks(), self._now()
        while self._closing and self._closing[oldest := next(iter(self._closing))] < now:
            self._cut(oldest)
        for connection in list(self._pending):
            if now - connection.opened < s.hello_seconds:
                break
            del self._pending[connection]
            self._fail(connection, "silence", "no hello", 4408)
        for connection in list(self._connections):
            if now - connection.heard >= s.silence_seconds and connection.code is None:
                self._fail(connection, "silence")
            session = connection.session
            if session is not None and session.client and wall - session.token_at > s.resume_seconds / 2:
                session.say({"type": "token", "resume": session.resume_token()})

    def restart(self) -> None:
        """Tells everybody that the relay stops; their places are kept."""
        for connection in list(self._connections):
            if connection.session is not None:
                connection.session.say({"type": "restarting", "after": 0.5})
            connection.finish(1012)

    # ---- errors ----

    def _error(self, connection: Connection, code: str, detail: str = "", re: int | str | None = None, fatal: bool = False) -> None:
        self._metrics.count("telemed_errors_total", code=code)
        message: dict[str, Any] = {"type": "error", "code": code, "text": text(code), "fatal": fatal}
        if detail:
            message["detail"] = detail
        if connection.session is not None and not fatal:
            connection.session.say(message, re)
        else:
            connection.send(encode({**message, "re": re} if re is not None else message))

    def _fail(self, connection: Connection, code: str, detail: str = "", close: int | None = None, re: int | str | None = None) -> None:
        self._error(connection, code, detail, re, fatal=True)
        connection.finish(close or CLOSES.get(code, 4400))

    # ---- hello ----

    def _message(self, connection: Connection, raw: str) -> None:
        session = connection.session
        try:
            message = m.decode(raw)
        except m.Bad as bad:
            if session is None:
                self._fail(connection, bad.code, str(bad), re=bad.re)
            else:
                self._error(connection, bad.code, str(bad), bad.re)
            return
        self._metrics.count("telemed_messages_total", type=type(message).__name__.lower())
        if session is None:
            if isinstance(message, m.Hello):
                self._hello(connection, message)
            elif isinstance(message, m.Ping):
                connection.send(encode({"type": "pong", "re": message.id, "time": stamp(self._now())}))
            else:
                self._fail(connection, "hello-first", re=message.id)
            return
        try:
            done = self._handle(connection, session, message)
        except Refused as refused:
            self._error(connection, refused.code, refused.detail, message.id)
        except Exception:
            log.exception("room %s: %s of %s", session.room.id, type(message).__name__, session.who.id)
            self._error(connection, "internal", re=message.id)
        else:
            if done and message.id is not None and connection.session is session:
                session.say({"type": "ok"}, message.id)

    def _hello(self, connection: Connection, hello: m.Hello) -> None:
        try:
            if hello.version != 1:
                raise Refused("version")
            how = self._join(connection, hello) if hello.resume is None else self._resume(connection, hello, hello.resume)
        except TokenError as error:
            self._metrics.count("telemed_hellos_total", result=error.code)
            self._fail(connection, error.code, str(error), re=hello.id)
        except Refused as refused:
            self._metrics.count("telemed_hellos_total", result=refused.code)
            self._fail(connection, refused.code, refused.detail, re=hello.id)
        else:
            self._metrics.count("telemed_hellos_total", result=how)
            self._pending.pop(connection, None)

    def _join(self, connection: Connection, hello: m.Hello) -> str:
        client = digest(hello.client)
        if hello.token is not None:
            identity = self._tokens.verify(hello.token)
            room = self._rooms.open(identity)
            if not self._once.take(identity.jti, client):
                raise Refused("token-used")
        elif self._settings.open:
            identity = self._open_identity(hello)
            room = self._rooms.open(identity)
        else:
            raise TokenError("token", "missing")
        if identity.participant not in room.participants and self._rooms.sessions() >= self._settings.sessions:
            raise Refused("full", "sessions")
        who = room.enter(identity, "ws")
        self._begin(connection, Session(secrets.token_urlsafe(12), client, room, who, self._tokens, self._settings, self._now), hello)
        return "joined"

    def _begin(self, connection: Connection, session: Session, hello: m.Hello, restored: bool = False) -> None:
        connection.session, session.connection, session.who.ear = session, connection, session
        session.welcome(hello.id, "new", restored)
        log.info("room %s: %s by %r", session.room.id, session.who.id, hello.agent[:100])

    def _open_identity(self, hello: m.Hello) -> Identity:
        role = hello.role or Role.DOCTOR
        participant = hello.participant or secrets.token_hex(6)
        if hello.room is None or not valid_id(hello.room) or not valid_id(participant):
            raise Refused("bad-message", "room and participant must be ids")
        now = int(self._now())
        name = hello.name or role.value
        return Identity(hello.room, participant, name, role, DEFAULTS[role], issued=now, expires=now, jti=secrets.token_hex(8))

    def _resume(self, connection: Connection, hello: m.Hello, resume: m.Resume) -> str:
        found = self._tokens.verify_resume(resume.token)
        client = digest(hello.client)
        if not client or not hmac.compare_digest(found.client, client):
            raise TokenError("token", "of another client")
        room = self._rooms.open(found.identity)
        who = room.participants.get(found.identity.participant)
        session = who.ear if who is not None and isinstance(who.ear, Session) else None
        if session is not None and session.id != found.session:
            connection.send(encode({"type": "replaced", "text": REPLACED_TEXT}))
            connection.finish(4409)
            return "replaced"
        if session is None:
            if who is None and self._rooms.sessions() >= self._settings.sessions:
                raise Refused("full", "sessions")
            who = room.enter(found.identity, "ws", returning=found.identity.admitted)
            session = Session(secrets.token_urlsafe(12), client, room, who, self._tokens, self._settings, self._now)
            self._begin(connection, session, hello, restored=True)
            return "restored"
        old = session.connection
        if old is not None:
            old.session = None
            old.abort(1001)
        connection.session, session.connection = session, connection
        if resume.seq == 0:  # a page that was loaded again: its end of the media is gone
            room.media.close(session.who)
        if resume.seq and session.replayable(resume.seq):
            session.replay(hello.id, resume.seq)
        else:
            session.welcome(hello.id, "kept" if session.who.peer is not None else "new", True)
        room.link_back(session.who)
        return "resumed"

    # ---- everything after hello ----

    def _handle(self, connection: Connection, session: Session, message: m.Message) -> bool:
        """True: an `ok` is due to a message that has an id.

        Raises Refused.
        """
        room, who = session.room, session.who
        match message:
            case m.Ping():
                reply = {"type": "pong", "time": stamp(self._now())}
                connection.send(encode({**reply, "re": message.id} if message.id is not None else reply))
                return False
            case m.Candidate():
                room.media.candidate(who, message.candidate, message.mid)
                return False
            case m.Offer():
                publish = {mid: Published(one.source, one.name) for mid, one in message.publish.items()}
                answer, missing = room.media.negotiate(who, message.sdp, publish, message.wanted)
                session.say({"type": "answer", "sdp": answer, "missing": missing}, message.id)
                return False
            case m.Report():
                who.summary.report(message.freezes, message.freeze_seconds)
                return False
            case m.Bind():
                if not who.admitted:
                    raise Refused("not-admitted")
                room.media.bind(who, message.mid, message.track)
            case m.Mute():
                room.media.mute(who, message.track, message.muted)
            case m.Limited():
                room.media.limited(who, message.track, message.by)
            case m.Prefer():
                room.media.prefer(who, message.track, message.layer, message.paused, message.priority)
            case m.Chat():
                if len(message.text) > self._settings.chat_chars:
                    raise Refused("too-long", f"more than {self._settings.chat_chars} characters")
                room.write(who, message.text)
            case m.Data():
                if len(msgspec.json.encode(message.data)) > self._settings.data_bytes:
                    raise Refused("too-long", f"more than {self._settings.data_bytes} bytes")
                room.pass_on(who, message.label, message.data)
            case m.Hand():
                room.raise_hand(who, message.up)
            case m.Admit():
                if (message.participant is None) is not message.all:
                    raise Refused("bad-message", "either participant or all")
                room.admit(who, message.participant)
            case m.Refuse():
                room.refuse(who, message.participant)
            case m.Remove():
                room.remove(who, message.participant)
            case m.Record():
                room.record_on(who, message.on)
            case m.Consent():
                room.consent(who, message.given)
            case m.Ice():
                session.ice(message.id)
                return False
            case m.End():
                if message.id is not None:  # before the goodbye, after which nothing is sent
                    room.may_end(who)
                    session.say({"type": "ok"}, message.id)
                room.end(who)
                self._rooms.sweep()
                return False
            case m.Leave():
                room.leave(who, "left")
                return False
            case m.Hello():
                raise Refused("hello-first")
        return True
