"""The API: all resources, what they share, and its own description."""

from collections.abc import Awaitable, Callable

from fastapi import Depends, FastAPI, Request, Response

from sluice.contracts.published import VERSION
from sluice.runtime.metrics import METRICS
from sluice.services.query_api import (
    actions,
    audit,
    changes,
    controls,
    groups,
    ledgers,
    nodes,
    objects,
    pods,
    policies,
    problems,
    verdicts,
)
from sluice.services.query_api.actions import Record
from sluice.services.query_api.asking import Asking
from sluice.services.query_api.filling import Filling
from sluice.services.query_api.parameters import only_known

_requests = METRICS.counter("sluice_query_api_requests_total", "Requests, by the first digit of their status", "status")

ABOUT = """\
Objects, policies and how far they are in force, groups, nodes, verdicts and audit events. With `seq` or `at`, the state
at an earlier moment. Errors are application/problem+json. Callers identify themselves by a bearer token or a client
certificate.
"""


def application(asking: Asking, filling: Filling, record: Record, ready: Callable[[], Awaitable[list[str]]]) -> FastAPI:
    """The complete API. `ready` returns what is still missing."""
    known = [Depends(only_known)]
    app = FastAPI(title="Sluice", version=VERSION, description=ABOUT, docs_url=None, redoc_url=None, dependencies=known)
    problems.install(app)
    for resource in (objects, policies, controls, groups, pods, nodes, verdicts, ledgers, actions):
        app.include_router(resource.router(asking))
    app.include_router(audit.router(asking, filling))
    app.include_router(changes.router(asking, record))

    @app.middleware("http")
    async def count(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await go_on(request)
        _requests.add(1, f"{answer.status_code // 100}xx")
        return answer

    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return Response("alive\n", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        lacking = await ready()
        return Response("\n".join(lacking or ["ready"]) + "\n", 503 if lacking else 200, media_type="text/plain")

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(METRICS.text(), media_type="text/plain; version=0.0.4")

    return app
