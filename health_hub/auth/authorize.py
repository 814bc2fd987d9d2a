"""An authorization under way: begun by an application, led by the pages through what is missing, ended with a code or a refusal.

Record kind "authorization", id random, which ends after SECONDS: {"request": AuthorizationRequest, "browser": SHA-256 of the cookie
it is bound to, "made": seconds since 1970 UTC, "launch": id of the launch and its Launch, "patient": picked}.
Record kind "code", id SHA-256 of the code, ends after CODE_SECONDS: {"granted": auth/model.py Granted, "redirect_uri",
"code_challenge", "dpop_jkt", "used"} (auth/grants/authorization_code.py).
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from health_hub.auth import consents, launch, scopes
from health_hub.auth.audit import AuthEvent
from health_hub.auth.ids import possible
from health_hub.auth.launch import Launch
from health_hub.auth.model import Account, AuthError, Client, Granted, Session
from health_hub.auth.request import AuthorizationRequest, Returned, returned, single, validate
from health_hub.auth.signin import FOR_FACILITY
from health_hub.store.records import Conflict, Put, Record, Take, now

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

__all__ = ["Pending", "Returned", "begin", "client_of", "deny", "finish", "givable", "load", "missing", "offered", "pick"]

SECONDS, CODE_SECONDS = 600, 60
WITH_PATIENTS = ("patient", "carer", "practitioner", "nurse")  # roles that can have a patient in context
Step = Literal["sign-in", "facility", "patient", "consent"]
# OpenID Connect Core 3.1.2.6: what prompt=none answers.
_SILENT: dict[Step, str] = {
    "sign-in": "login_required", "facility": "interaction_required", "patient": "interaction_required", "consent": "consent_required",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pending:
    """made: seconds since 1970 UTC. launch: what an EHR launch brought. patient: launched or picked, a bare id."""

    id: str
    version: int
    request: AuthorizationRequest
    made: int
    launch_id: str | None = None
    launch: Launch | None = None
    patient: str | None = None


async def begin(authority: "Authority", params: Iterable[tuple[str, str]], browser: str) -> Pending:
    """An application's request, kept. browser: value of the cookie that the rest must come with.

    Raises AuthError for our own error page, Returned for what the application is told.
    """
    given = single(params)
    client = await authority.clients.get(given.get("client_id", ""))
    if client is None or not client.enabled:
        raise AuthError("invalid_request", "there is no such application")
    if (request_uri := given.get("request_uri")) is not None:
        # RFC 9126 4: what was pushed is the request, and nothing beside it counts.
        pushed = await authority.par_request(request_uri, client)
        if pushed is None:
            raise AuthError("invalid_request_uri", "request_uri is unknown, used or ended")
        given = single(pushed.items())
    request = await validate(authority, client, given)
    launch_id, launched = None, None
    if "launch" in given:
        try:
            launch_id, launched = await launch.find(authority.store.records, given["launch"], client.id)
        except AuthError as e:
            raise _returned(authority, request, e.error, e.description) from None
    pending = Pending(secrets.token_urlsafe(24), 1, request, int(time.time()), launch_id, launched, launched.patient if launched else None)
    await authority.store.records.change([_put(pending, _hash(browser), 0, now() + SECONDS * 1000)])
    return pending


async def load(authority: "Authority", id: str, browser: str) -> Pending:
    """An authorization under way in this browser. Raises AuthError: none, or another browser's."""
    return _pending(await _record(authority, id, browser))


async def missing(authority: "Authority", pending: Pending, session: Session | None) -> Step | None:
    """What the person must do next; None: nothing, `finish` it. Raises Returned: it cannot be, or prompt=none forbids to ask."""
    step = await _missing(authority, pending, session)
    if step is not None and "none" in pending.request.prompt:
        await _take(authority, pending)
        raise _returned(authority, pending.request, _SILENT[step], "")
    return step


async def client_of(authority: "Authority", pending: Pending) -> Client:
    """Raises AuthError where it was disabled meanwhile."""
    client = await authority.clients.get(pending.request.client)
    if client is None or not client.enabled:
        raise AuthError("invalid_request", "there is no such application")
    return client


async def pick(authority: "Authority", pending: Pending, session: Session, patient: str) -> Pending:
    """The patient the application is to work with. Raises AuthError access_denied for one the person may not see."""
    account = await _account(authority, session)
    if pending.launch is not None and pending.launch.patient:
        raise AuthError("invalid_request", "the patient was chosen where the application was launched")
    if not await _sees(authority, account, session, patient):
        raise AuthError("access_denied", "no such patient", 403)
    picked = replace(pending, patient=patient)
    record = await authority.store.records.get("authorization", pending.id)
    if record is None:
        raise _ended()
    try:
        await authority.store.records.change([_put(picked, record.data["browser"], record.version, record.expires)])
    except Conflict:
        raise _ended() from None
    return replace(picked, version=record.version + 1)


async def offered(authority: "Authority", pending: Pending, session: Session) -> str:
    """The scopes the person is asked to agree to: those of the request that this person can give at all."""
    account = await _account(authority, session)
    return givable(pending.request.scope, account, await _patient(pending, account), _encounter(pending))


async def finish(
    authority: "Authority", pending: Pending, session: Session, *, scope: str | None = None, patient: str | None = None, address: str = ""
) -> str:
    """Where the browser goes, with a code for the application. Ends the authorization: of two calls one succeeds.

    scope: what the person agreed to just now, all or some of `offered`; None: what they agreed to before covers it. patient: as `pick`.
    Raises AuthError, Returned. The caller has made sure that the person themselves said so (auth/csrf.py).
    """
    if patient is not None and patient != pending.patient:
        pending = await pick(authority, pending, session, patient)
    client, account = await client_of(authority, pending), await _account(authority, session)
    step = await missing(authority, pending, session)
    if step is not None and (step, scope is None) != ("consent", False):
        raise AuthError("invalid_request", f"not done yet: {step}")
    chosen, encounter = await _patient(pending, account), _encounter(pending)
    if chosen is not None and not await _sees(authority, account, session, chosen):
        await _take(authority, pending)
        raise _returned(authority, pending.request, "access_denied", "the person may not see this patient")
    whole = givable(pending.request.scope, account, chosen, encounter)
    given = whole if scope is None else scope and scopes.narrow(scope, whole)
    if not given:
        await _take(authority, pending)
        raise _returned(authority, pending.request, "access_denied", "nothing is left of the scope")
    if scope is not None:
        await consents.remember(authority, account.id, client.id, given)
    context = pending.launch
    granted = Granted(
        id=secrets.token_urlsafe(16), client=client.id, account=account.id, scope=given, asked=pending.request.asked,
        began=int(time.time()), signed_in=session.signed_in, amr=session.amr, session=session.id, organization=session.organization,
        offline="offline_access" in given.split(), patient=chosen, encounter=encounter,
        need_patient_banner=None if chosen is None else context.need_patient_banner if context else True,
        intent=context.intent if context else None, smart_style_url=context.smart_style_url if context else None,
        nonce=pending.request.nonce,
    )  # fmt: skip
    code = secrets.token_urlsafe(32)
    kept = {"granted": granted.data(), "redirect_uri": pending.request.redirect_uri, "code_challenge": pending.request.code_challenge,
            "dpop_jkt": pending.request.dpop_jkt, "used": False}  # fmt: skip
    changes: list[Put | Take] = [
        Take("authorization", pending.id, must=True),
        Put("code", _hash(code), kept, version=0, expires=now() + CODE_SECONDS * 1000),
    ]
    if pending.launch_id is not None:
        changes.append(launch.used(pending.launch_id))
    try:
        await authority.store.records.change(changes)
    except Conflict:
        raise _ended() from None
    if scope is not None:
        await authority.audit(AuthEvent("consent-given", account.id, client.id, address, detail=given))
    return returned(authority, pending.request.redirect_uri, pending.request.state, {"code": code})


async def deny(authority: "Authority", pending: Pending, session: Session | None, *, address: str = "") -> str:
    """The person does not want it: where the browser goes, with access_denied. Raises AuthError where it has ended already."""
    if not await _take(authority, pending):
        raise _ended()
    await authority.audit(
        AuthEvent("consent-refused", session.account if session else None, pending.request.client, address, success=False)
    )
    return _returned(authority, pending.request, "access_denied", "the person refused").url


async def _missing(authority: "Authority", pending: Pending, session: Session | None) -> Step | None:
    request = pending.request
    account = await authority.accounts.get(session.account) if session is not None else None
    if session is None or account is None or not account.enabled or (request.subject or account.id) != account.id:
        return "sign-in"
    # Counted from when the application asked: signing in takes time, and must satisfy max_age=0 too.
    again = {"login", "select_account"} & set(request.prompt)
    if session.signed_in < (pending.made if again else pending.made - request.max_age if request.max_age is not None else 0):
        return "sign-in"
    if pending.launch is not None and pending.launch.account != account.id:
        await _take(authority, pending)
        raise _returned(authority, request, "access_denied", "the launch is another person's")
    if account.role in FOR_FACILITY and session.organization is None and len(await authority.facilities(account)) > 1:
        return "facility"
    if account.role in WITH_PATIENTS and scopes.wants_patient(request.scope) and await _patient(pending, account) is None:
        return "patient"
    client = await client_of(authority, pending)
    wanted = givable(request.scope, account, await _patient(pending, account), _encounter(pending))
    if not wanted:
        await _take(authority, pending)
        raise _returned(authority, request, "access_denied", "this person can give nothing of the scope")
    # RFC 8252 8.6: who listens on a loopback port or a private scheme is not known, so what was agreed before does not count.
    asks = "consent" in request.prompt or (client.token_endpoint_auth_method == "none" and not request.redirect_uri.startswith("https:"))
    if asks or not scopes.within(wanted, await consents.remembered(authority, account.id, client.id)):
        return "consent"
    return None


async def _patient(pending: Pending, account: Account) -> str | None:
    """The patient in context: launched or picked; a patient's own without picking."""
    if pending.patient is not None:
        return pending.patient
    kind, _, id = (account.fhir_user or "").partition("/")
    return id if account.role == "patient" and kind == "Patient" and scopes.wants_patient(pending.request.scope) else None


def _encounter(pending: Pending) -> str | None:
    return pending.launch.encounter if pending.launch else None


def givable(scope: str, account: Account, patient: str | None, encounter: str | None) -> str:
    """Without what a person of this role, or without this context, cannot give: what is answered is what was really granted."""
    if account.role not in WITH_PATIENTS or patient is None:
        scope = scopes.only(scope, lambda s: s.context != "patient")
        scope = " ".join(w for w in scope.split() if w != "launch/patient")
    return scope if encounter else " ".join(w for w in scope.split() if w != "launch/encounter")


async def _sees(authority: "Authority", account: Account, session: Session, patient: str) -> bool:
    return len(patient) <= 64 and await authority.may_see(account, session.organization, patient)


async def _account(authority: "Authority", session: Session) -> Account:
    account = await authority.accounts.get(session.account)
    if account is None or not account.enabled:
        raise AuthError("access_denied", "the account is closed", 403)
    return account


async def _record(authority: "Authority", id: str, browser: str) -> Record:
    record = await authority.store.records.get("authorization", id) if possible(id) and browser else None
    if record is None or not hmac.compare_digest(record.data["browser"], _hash(browser)):
        raise _ended()
    return record


async def _take(authority: "Authority", pending: Pending) -> bool:
    return await authority.store.records.take("authorization", pending.id) is not None


def _returned(authority: "Authority", request: AuthorizationRequest, error: str, why: str) -> Returned:
    answer = {"error": error, "error_description": why} if why else {"error": error}
    return Returned(returned(authority, request.redirect_uri, request.state, answer), error, why)


def _ended() -> AuthError:
    return AuthError("invalid_request", "this authorization has ended: begin again in the application")


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def _put(pending: Pending, browser: str, version: int, expires: int | None) -> Put:
    data: dict[str, Any] = {
        "request": asdict(pending.request), "browser": browser, "made": pending.made, "patient": pending.patient,
        "launch": None if pending.launch is None else {"id": pending.launch_id, **asdict(pending.launch)},
    }  # fmt: skip
    return Put("authorization", pending.id, data, version=version, expires=expires)


def _pending(record: Record) -> Pending:
    data = record.data
    request = AuthorizationRequest(**data["request"] | {"prompt": tuple(data["request"]["prompt"])})
    kept = data["launch"]
    launched = None if kept is None else Launch(**{k: v for k, v in kept.items() if k != "id"})
    return Pending(record.id, record.version, request, data["made"], kept["id"] if kept else None, launched, data["patient"])
