"""The endpoints, in FastAPI: bytes in, bytes out; decides nothing."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import FastAPI, Request, Response

from sluice.runtime.metrics import METRICS
from sluice.services.admission import review
from sluice.services.admission.shell import Shell

MAX_BODY_BYTES = 8 << 20
"""Maximum request size: two objects of the largest size that the API server stores, and their envelope."""

JSON = "application/json"

_malformed = METRICS.counter("sluice_admission_malformed_total", "Requests that are no AdmissionReview")

Answer = Callable[[review.Request], Awaitable[review.Response]]


def application(shell: Shell) -> FastAPI:
    """The webhook: validation and mutation of all our kinds, and the label on Namespaces."""
    app = FastAPI(title="sluice admission", docs_url=None, redoc_url=None, openapi_url=None)

    def webhook(path: str, answer: Answer) -> None:
        async def endpoint(request: Request) -> Response:
            return await _answered(request, answer)

        app.post(path)(endpoint)

    webhook("/validate", shell.validate)
    webhook("/mutate", shell.mutate)
    webhook("/mutate/namespace", shell.mutate_namespace)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("alive\n", media_type="text/plain")

    return app


async def _answered(request: Request, answer: Answer) -> Response:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return _refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"larger than {MAX_BODY_BYTES} bytes, which no object is"
            )
    try:
        asked = review.parse(bytes(body))
    except review.Malformed as error:
        return _refused(HTTPStatus.BAD_REQUEST, str(error))
    return Response(review.answer(asked, await answer(asked.request)), media_type=JSON)


def _refused(status: HTTPStatus, reason: str) -> Response:
    _malformed.add(1)
    return Response(f"{reason}\n", status_code=status, media_type="text/plain")
