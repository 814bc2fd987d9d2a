"""$graphql on the system and on a resource (R4 graphql.html).

Its library is loaded at the first query: it would double the time that a hub needs until it answers.
"""

from health_hub.rest.hub import Hub
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.rest.table import ANY, operation


@operation("system", "", "graphql", reads=True)
async def of_system(hub: Hub, request: Request) -> Response:
    return await _answer(hub, request)


@operation("instance", ANY, "graphql", reads=True)
async def of_instance(hub: Hub, request: Request) -> Response:
    return await _answer(hub, request)


async def _answer(hub: Hub, request: Request) -> Response:
    from health_hub.rest.graphql.serve import answer

    return await answer(hub, request)
