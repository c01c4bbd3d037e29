"""Answers on their way out over ASGI: whole ones, and the framework's with what every answer carries."""

from __future__ import annotations

from typing import Any

from service.api.reply import Reply, Send


class Stamped:
    """`send` for the framework's answers: adds the request id, remembers the status and Server-Timing."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.headers = [(b"x-request-id", request_id.encode())]
        self.status = 0
        self.timings = ""

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.get("headers", ())
            self.timings = next((value.decode() for name, value in headers if name == b"server-timing"), "")
            message["headers"] = [*(h for h in headers if h[0] != b"x-request-id"), *self.headers]
        await self._send(message)


def without_body(send: Send) -> Send:
    """`send` for the answer to HEAD."""

    async def send_head(message: Any) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head


async def send_reply(send: Send, reply: Reply, request_id: str) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers(request_id)})
    await send({"type": "http.response.body", "body": reply.body})
