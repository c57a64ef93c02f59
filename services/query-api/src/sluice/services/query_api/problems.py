"""Errors as answers: application/problem+json (RFC 9457)."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from msgspec import Struct
from starlette.exceptions import HTTPException

from sluice.contracts import codec

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """The request cannot be answered: why, and what to do."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class ProblemBody(Struct, frozen=True):
    title: str
    status: int
    detail: str
    instance: str
    """Path of the request."""


def install(app: FastAPI) -> None:
    """Make the application return all errors in this form."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return answer(request, error.status, error.detail)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.NOT_FOUND:
            return answer(request, 404, f"{request.url.path}: there is no such path; /openapi.json lists all paths")
        return answer(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return answer(request, 422, "; ".join(faults))


def answer(request: Request, status: int, detail: str) -> Response:
    title = HTTPStatus(status).phrase
    body = ProblemBody(title, status, detail, request.url.path)
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return Response(codec.encode(body), status, headers, MEDIA_TYPE)
