"""Replies and errors as the framework's responses, for what the edge does not answer without it."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from service.api.bodies import CLIENT_CLOSED_REQUEST
from service.api.problems import problem_reply, reply_to
from service.api.reply import Reply


def response(reply: Reply) -> Response:
    """The same bytes and headers; id, and what else every answer has, the edge adds."""
    made = Response(reply.body, reply.status, media_type=reply.content_type.decode())
    made.raw_headers.extend(reply.extra_headers)
    if reply.timings:
        made.headers["server-timing"] = reply.timings
    return made


async def on_error(request: Request, error: Exception) -> Response:
    """Handler of our own errors, and of bugs."""
    return _problem(request, reply_to(error, request.scope["request_id"], request.url.path.encode()))


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    """Handler of a client that left while its body was awaited: nobody reads this answer."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Handler of what the framework itself refuses: no such route, another method."""
    assert isinstance(error, HTTPException)
    told = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and told.get("Allow", "GET") == "GET":
        told["Allow"] = "GET, HEAD"  # the edge answers HEAD wherever there is a GET; folders of files tell none
    code, detail = {
        404: ("not_found", f"No route {request.url.path}. See /docs."),
        405: (
            "method_not_allowed",
            f"{request.url.path} does not answer {request.scope['inbound'].method}. Send {told.get('Allow')}.",
        ),
    }.get(error.status_code, ("malformed_request", error.detail))
    headers = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    path = request.url.path.encode()
    return _problem(request, problem_reply(code, detail, request.scope["request_id"], headers, error.status_code, path))


def _problem(request: Request, reply: Reply) -> Response:
    request.scope["problem_code"] = reply.code
    return response(reply)
