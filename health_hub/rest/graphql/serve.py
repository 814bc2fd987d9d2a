"""Answers $graphql on the system and on a resource, by GET and POST (R4 graphql.html, graphql.org/learn/serving-over-http)."""

import asyncio
from typing import Any

from health_hub.fhir.json import dumps, loads
from health_hub.fhir.outcome import FhirError, outcome
from health_hub.rest import read
from health_hub.rest.graphql import schema
from health_hub.rest.graphql.document import Document, Field, refuse
from health_hub.rest.graphql.document import read as read_document
from health_hub.rest.graphql.execute import Run
from health_hub.rest.graphql.find import search
from health_hub.rest.graphql.introspection import Introspection
from health_hub.rest.graphql.output import Output
from health_hub.rest.hub import Hub
from health_hub.rest.operations.parameters import has_body
from health_hub.rest.request import Request
from health_hub.rest.respond import Response

_JSON = "application/json; charset=utf-8"


async def answer(hub: Hub, request: Request) -> Response:
    """`data`, or `errors` with an OperationOutcome each; never both, because R4 has no partial answers."""
    try:
        text, variables, name = await _asked(request)
        root = frozenset((request.type or schema.QUERY,))
        document = read_document(text, variables, name, root, hub.settings.graphql_depth)
        if document.kind == "mutation" and request.method == "GET":
            raise FhirError(405, refuse("GraphQL: a mutation is posted", "not-supported").issues, [("Allow", "POST")])
        data = await _run(hub, request, document)
    except FhirError as e:
        errors = [{"message": i.diagnostics, "extensions": {"resource": outcome([i])}} for i in e.issues]
        return Response(e.status, content=dumps({"data": None, "errors": errors}), content_type=_JSON, headers=e.headers)
    return Response(200, content=dumps({"data": data}), content_type=_JSON)


async def _asked(request: Request) -> tuple[str, Any, str | None]:
    """query, variables, operationName from wherever the client put them."""
    query, variables, name = request.parameter("query"), request.parameter("variables"), request.parameter("operationName")
    given: Any = loads(variables.encode()) if variables else None
    if request.method == "POST" and await has_body(request):
        if request.content_type.name == "application/graphql":
            query = (await request.body()).decode("utf-8", "replace")
        else:
            query, given, name = _posted(await request.resource(), query, given, name)
    if not isinstance(query, str) or not query.strip():
        raise refuse("GraphQL: there is no query", "required")
    return query, given, name if isinstance(name, str) else None


def _posted(body: Any, query: Any, given: Any, name: Any) -> tuple[Any, Any, Any]:
    """The usual JSON body, or Parameters as for any operation."""
    if not isinstance(body, dict):
        raise refuse("GraphQL: the body is an object with query, variables and operationName", "structure")
    if body.get("resourceType") == "Parameters":
        listed = body.get("parameter")
        for parameter in listed if isinstance(listed, list) else ():
            if isinstance(parameter, dict) and parameter.get("name") == "query":
                query = parameter.get("valueString")
        return query, given, name
    return body.get("query", query), body.get("variables", given), body.get("operationName", name)


async def _run(hub: Hub, request: Request, document: Document) -> dict[str, Any]:
    run = Run(hub, request, search)
    out = Output()
    introspection = Introspection()
    if request.type:
        stored = (await read.read(hub, _without_conditions(request))).stored
        assert stored is not None
        run.select(document.fields, request.type, run.found(stored), out)
    elif document.kind == "mutation":
        for field in document.fields:
            await _mutate(hub, run, field, out)
    else:
        for field in document.fields:
            if field.name in ("__schema", "__type"):
                # Up to seconds for the whole schema: not on the event loop.
                await asyncio.to_thread(introspection.answer, field, out)
            else:
                _root(run, field, out)
    await run.settle()
    return out.plain()


def _without_conditions(request: Request) -> Request:
    """The same read without If-None-Match: a query's answer has no version of its own."""
    made = Request.make("GET", f"{request.type}/{request.id}", base=request.base, client=request.client, access=request.access)
    made.type, made.id = request.type, request.id
    return made


def _root(run: Run, field: Field, out: Output) -> None:
    found = schema.search_of(field.name)
    if found is not None:
        slot = out.slot(field.key, "list" if found[1] == "List" and not field.first else "one", "match")
        run.search(field, field.name, None, slot.values.extend)
    elif field.name == "__typename":
        out.slot(field.key, "one", "").values.append(schema.QUERY)
    else:
        _one(run, field, field.name, str(field.arguments.get("id", field.arguments.get("_id"))), out)


def _one(run: Run, field: Field, type_name: str, id_: str, out: Output) -> None:
    """One resource by id."""
    if not read.is_id(id_):
        raise FhirError(404, refuse(f"GraphQL: {type_name}/{id_[:70]} is not known", "not-found").issues)
    inner = Output()
    out.slot(field.key, "one", type_name).values.append(inner)

    def put(resource: dict[str, Any] | None) -> None:
        assert resource is not None
        assert field.children is not None
        run.select(field.children, type_name, resource, inner)

    run.read(type_name, id_, optional=False, done=put)


async def _mutate(hub: Hub, run: Run, field: Field, out: Output) -> None:
    """Create, update and delete as the REST interactions of the same name do them (R4 graphql.html#mutations)."""
    found = schema.mutation_of(field.name)
    assert found is not None
    type_name, kind = found
    asked, id_, resource = run.request, field.arguments.get("id"), field.arguments.get("res")
    if kind != "Delete":
        if not isinstance(resource, dict):
            raise refuse(f"GraphQL: res of {field.name} is a {type_name}", "structure")
        resource = {"resourceType": type_name, **resource}
    method = {"Create": "POST", "Update": "PUT", "Delete": "DELETE"}[kind]
    url = type_name if kind == "Create" else f"{type_name}/{id_}"
    headers = {"content-type": "application/fhir+json"} if kind != "Delete" else {}
    made = Request.make(
        method, url, base=asked.base, headers=headers, resource=resource if kind != "Delete" else None, client=asked.client,
        access=asked.access,
    )  # fmt: skip
    response = await hub.interact(made)
    stored = response.stored
    if kind != "Delete" and stored is not None and field.children is not None:
        inner = Output()
        out.slot(field.key, "one", type_name).values.append(inner)
        run.select(field.children, type_name, run.found(stored), inner)
