"""The pages at `/` and `/docs` and their files from `service/web`, to be kept for ever under a digest of all of them.

Nothing in it comes from another address, and its Content-Security-Policy lets nothing else run.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from service.api.negotiation import accepts_gzip

FOLDER = Path(__file__).resolve().parent.parent / "web"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "vary": "Accept-Encoding",
}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"  # kept, and shown again only after the service was asked whether it is still the same


class Page:
    """The files by their path. The modules name each other relatively, so one digest in a path is in all."""

    def __init__(self) -> None:
        files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}
        digest = hashlib.sha256(b"".join(name.encode() + content for name, content in files.items())).hexdigest()[:12]
        self.files = {"/favicon.ico": ("icon.svg", files["icon.svg"])}
        for path, name in (("/", "index.html"), ("/docs", "docs.html")):
            self.files[path] = name, files.pop(name).replace(b"{web}", f"web/{digest}".encode())
        self.files |= {f"/web/{digest}/{name}": (name, content) for name, content in files.items()}

    @property
    def paths(self) -> frozenset[bytes]:
        """What a browser loads before anybody can give it a key."""
        return frozenset(path.encode() for path in self.files)

    def routes(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)
        for path in self.files:
            router.add_api_route(path, self._file, methods=["GET"])
        return router

    async def _file(self, request: Request) -> Response:
        path = request.scope["path"]
        name, content = self.files[path]
        etag = f'W/"{_digest(content)}"'
        headers = {**HEADERS, "etag": etag, "cache-control": FOR_EVER if path.startswith("/web/") else ASK_FIRST}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if not name.endswith(".png") and accepts_gzip(request.headers.get("accept-encoding", "")):
            content = _compressed(content)
            headers["content-encoding"] = "gzip"
        return Response(content, media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)


@lru_cache
def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


@lru_cache
def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
