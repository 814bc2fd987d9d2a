"""Prefer: respond-async: 202 at once, the work behind it, its state for any worker to tell (R4 async.html).

The job lives in the database; only the work itself is in this process. Its heartbeat tells a job at work from one whose
process has died.
"""

import asyncio
import logging
import time
from email.utils import formatdate
from http import HTTPStatus

from health_hub.fhir.json import dumps
from health_hub.fhir.outcome import FhirError, Issue, outcome
from health_hub.rest.hub import Hub, Interaction
from health_hub.rest.request import Request
from health_hub.rest.respond import Response, refused
from health_hub.store.jobs import Job

PATH = "_job"
KIND = "respond-async"
_BEAT = 5.0  # seconds between two signs of life
_DEAD = 60.0  # seconds without one after which a job counts as lost

log = logging.getLogger(__name__)
_tasks: dict[str, asyncio.Task[None]] = {}


async def start(hub: Hub, request: Request, interaction: Interaction) -> Response:
    """Takes the request on and answers where its state can be asked."""
    running = len(_tasks)
    if running >= hub.settings.async_running * 8:
        raise FhirError(429, Issue("throttled", f"{running} asynchronous requests are under way; try again later"), [("Retry-After", "30")])
    await request.body()
    text = "/".join(request.segments) + ("?" + request.query.decode("latin-1") if request.query else "")
    await hub.store.jobs.expire(int((time.time() - hub.settings.async_keep) * 1000))
    id = await hub.store.jobs.create(KIND, {"method": request.method, "url": f"{request.base}/{text}"[:2000], "by": _sender(request)})
    _tasks[id] = task = asyncio.create_task(_work(hub, request, interaction, id))
    task.add_done_callback(lambda _: _tasks.pop(id, None))
    said = outcome([Issue("informational", f"the request is being worked on: {request.base}/{PATH}/{id}", severity="information")])
    return Response(202, resource=said, headers=[("Content-Location", f"{request.base}/{PATH}/{id}")], subset_done=True)


def _sender(request: Request) -> str:
    """Whose request it is, and with which rights: only they may ask for its answer. "" where nobody is asked."""
    if request.access is None:
        return ""
    # The answer was made with the token it was asked with: one that is for less must not fetch it.
    who, claims = request.access.who, request.access.who.claims
    return f"{claims.subject} {claims.client} {who.facility} {claims.patient} {' '.join(sorted(claims.scope.split()))}"


async def _work(hub: Hub, request: Request, interaction: Interaction, id: str) -> None:
    beat = asyncio.create_task(_beat(hub, id))
    try:
        async with hub.slots:
            entry, failed = await _entry(hub, request, interaction)
        result = b'{"resourceType":"Bundle","type":"batch-response","entry":[' + entry + b"]}"
        await hub.store.jobs.finish(id, "failed" if failed else "done", result)
    except asyncio.CancelledError:
        await asyncio.shield(hub.store.jobs.finish(id, "cancelled"))
        raise
    except Exception:
        log.exception("the asynchronous request %s could not be finished", id)
    finally:
        beat.cancel()


async def _entry(hub: Hub, request: Request, interaction: Interaction) -> tuple[bytes, bool]:
    """The entry of the result Bundle, and whether it tells a failure."""
    try:
        async with asyncio.timeout(hub.settings.timeout_long * 10):
            response = await interaction(hub, request)
        document = response.document(request)
        await hub.told(request, response)
    except FhirError as e:
        response, document = refused(e), None
        await hub.told(request, response)
    except TimeoutError:
        response, document = refused(FhirError(503, Issue("timeout", "the request took too long"))), None
    except Exception:
        log.exception("an asynchronous request failed")
        response, document = refused(FhirError(500, Issue("exception", "the request failed in the server"))), None
    said: dict[str, object] = {"status": f"{response.status} {HTTPStatus(response.status).phrase}"}
    if response.location is not None:
        said["location"] = response.location
    if response.etag is not None:
        said["etag"] = response.etag
    failed = response.status >= 400
    if failed:
        said["outcome"] = response.resource
    resource = b'"resource":' + document + b"," if document is not None else b""
    return b"{" + resource + b'"response":' + dumps(said) + b"}", failed


async def _beat(hub: Hub, id: str) -> None:
    """Signs of life, and the end when another worker was asked to cancel."""
    seconds = 0.0
    while True:
        await asyncio.sleep(_BEAT)
        seconds += _BEAT
        try:
            job = await hub.store.jobs.get(id)
            if job is None or job.state != "running":
                if (task := _tasks.get(id)) is not None:
                    task.cancel()
                return
            await hub.store.jobs.progress(id, f"working for {seconds:.0f} s")
        except Exception:
            log.exception("no sign of life for the asynchronous request %s", id)


async def status(hub: Hub, request: Request) -> Response:
    """202 while it works, then the result Bundle with the answer as its entry."""
    job = await _job(hub, request)
    now = time.time()
    if job.state == "running" and now - job.updated / 1000 < _DEAD:
        again = "1" if now - job.created / 1000 < 10 else "5"
        return Response(202, headers=[("X-Progress", job.progress or "accepted"), ("Retry-After", again)])
    expires = [("Expires", formatdate(job.updated / 1000 + hub.settings.async_keep, usegmt=True))]
    if job.state in ("done", "failed") and job.result is not None:
        return Response(200, json=bytes(job.result), headers=expires, subset_done=True)
    if job.state == "cancelled":
        raise FhirError(404, Issue("not-found", "the request was cancelled"))
    raise FhirError(500, Issue("exception", "the server stopped before the request was finished; send it again"))


async def cancel(hub: Hub, request: Request) -> Response:
    """Stops the work, on whichever worker it is; what has been committed stays."""
    job = await _job(hub, request)
    if job.state == "running":
        await hub.store.jobs.finish(job.id, "cancelled")
        if (task := _tasks.get(job.id)) is not None:
            task.cancel()
    else:
        await hub.store.jobs.delete(job.id)
    return Response(202)


async def _job(hub: Hub, request: Request) -> Job:
    job: Job | None = await hub.store.jobs.get(request.id) if len(request.id) < 100 else None
    if job is None or job.kind != KIND or job.request.get("by", "") != _sender(request):
        raise FhirError(404, Issue("not-found", "no such asynchronous request, or its answer has expired"))
    return job


async def stop() -> None:
    """When the server stops: nothing is left half told."""
    tasks = list(_tasks.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
