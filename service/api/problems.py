"""Errors become responses here, once: RFC 9457 problem details with our `code`."""

from __future__ import annotations

import math
from http import HTTPStatus

import structlog

from service.api.reply import JSON, Reply
from service.api.schemas import Problem, encode
from service.errors import NotReady, Overloaded, ServiceError

STATUS_OF_CODE = {
    "malformed_request": 400,
    "unauthorized": 401,
    "not_found": 404,
    "model_not_found": 404,
    "method_not_allowed": 405,
    "too_slow": 408,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid_image": 422,
    "validation_error": 422,
    "head_too_large": 431,
    "unsupported": 501,
    "overloaded": 503,
    "not_ready": 503,
    "deadline_exceeded": 504,
}
V2 = b"/v2"
PROBLEM_JSON = b"application/problem+json"
log = structlog.stdlib.get_logger(__name__)


def reply_to(error: Exception, request_id: str, path: bytes = b"") -> Reply:
    """The response for anything that was raised: our own errors in words, bugs with a traceback in the log only."""
    if not isinstance(error, ServiceError) or error.code not in STATUS_OF_CODE:
        log.error("request failed", request_id=request_id, exc_info=error)
        detail = f"The service failed. Its log has more under request {request_id}."
        return problem_reply("internal", detail, request_id, path=path)
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, (Overloaded, NotReady)):
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after_s))).encode()))
    if error.code == "unauthorized":
        headers.append((b"www-authenticate", b"Bearer"))
    return problem_reply(error.code, error.detail, request_id, headers, path=path)


def problem_reply(
    code: str,
    detail: str,
    request_id: str,
    headers: list[tuple[bytes, bytes]] | None = None,
    status: int = 0,
    path: bytes = b"",
) -> Reply:
    """A problem document for a code of the table, or for another with its `status`.

    Below /v2 it is what the Open Inference Protocol says: `{"error": detail}`, and 400 for what others call 422.
    """
    status = status or STATUS_OF_CODE.get(code, 500)
    if path == V2 or path.startswith(V2 + b"/"):
        status = HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else status
        return Reply(encode({"error": detail}), status, JSON, headers or [], code=code)
    body = Problem(
        type=f"urn:digit-service:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=f"urn:digit-service:request:{request_id}",
        code=code,
    )
    return Reply(encode(body), status, PROBLEM_JSON, headers or [], code=code)
