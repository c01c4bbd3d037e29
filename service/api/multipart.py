"""`multipart/form-data` parsed as it streams in, in memory: no temporary files (RFC 7578)."""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from service.errors import MalformedRequest, TooLarge

BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)
PARAMETER = re.compile(rb';\s*(name|filename)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
# The head that nearly every client writes, in one look; all others are taken line by line.
USUAL_HEAD = re.compile(
    rb'content-disposition: form-data; name="([^"\\%\r\n]*)"(?:; filename="([^"\\%\r\n]*)")?'
    rb"(?:\r\ncontent-type: [^\r\n]*)?",
    re.IGNORECASE,
)
REMEMBERED_BYTES = 256  # of a part's head: with 1,024 of them a quarter of a megabyte
HEAD_BYTES = 4000  # of a part's head: more is left to the parser, which refuses it
MAX_OTHER_PARTS = 64  # form fields beside the pictures; more is nobody's form


class Part(Struct):
    """One part of a form."""

    name: str = ""
    filename: str | None = None
    content: bytes | bytearray = b""

    def is_file(self, wanted: str) -> bool:
        """Whether it is a file called so: a browser's form with no file chosen sends the part, nameless and empty."""
        return self.name == wanted and bool(self.content or self.filename)

    def header(self, name: bytes, value: bytes) -> None:
        """Take what we need of one of the part's headers."""
        if name.lower() != b"content-disposition":
            return
        for key, quoted, token in PARAMETER.findall(value):
            text = _unescape(quoted) if quoted else token.decode("utf-8", "replace")
            if key.lower() == b"name":
                self.name = text
            else:
                self.filename = text


def boundary_of(content_type: bytes) -> bytes:
    """The boundary that a Content-Type header names. Raises `MalformedRequest`."""
    match = BOUNDARY.search(content_type)
    if match is None:
        raise MalformedRequest(
            "multipart/form-data needs a boundary in its Content-Type, and there is none. "
            "Do not set that header by hand: the HTTP client sets it when it builds the form."
        )
    return match[1] or match[2]


def plain_parts(body: bytes, boundary: bytes) -> list[Part] | None:
    """The parts of a whole body written the way HTTP clients do; None leaves anything else to `Form`.

    It is what nearly all requests are, and the parser takes 30 us a part (docs/log.md).
    """
    delimiter = b"--" + boundary
    end = body.rfind(b"\r\n" + delimiter + b"--")
    if not body.startswith(delimiter + b"\r\n") or end < 0 or body[end + len(delimiter) + 4 :] not in (b"", b"\r\n"):
        return None
    sections = body[len(delimiter) + 2 : end].split(b"\r\n" + delimiter + b"\r\n")
    if body.count(b"\r\n" + delimiter) != len(sections):
        return None
    parts = []
    for section in sections:
        head, blank, content = section.partition(b"\r\n\r\n")
        if not blank or len(head) > HEAD_BYTES:
            return None
        if len(head) <= REMEMBERED_BYTES and (names := _usual_names(head)) is not None:
            parts.append(Part(*names, content))
            continue
        part = Part(content=content)
        for line in head.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.fullmatch(name):
                return None
            part.header(name, value)
        parts.append(part)
    return parts


@lru_cache(maxsize=1024)  # clients send the same few again and again
def _usual_names(head: bytes) -> tuple[str, str | None] | None:
    """The names of a part and of its file in a head that nearly every client writes; None of any other."""
    usual = USUAL_HEAD.fullmatch(head)
    if usual is None:
        return None
    name, filename = usual.groups()
    return name.decode("utf-8", "replace"), None if filename is None else filename.decode("utf-8", "replace")


class Form:
    """Takes a body's chunks with `write`; `finish` tells the parts. At most `max_files` may be called `wanted`."""

    def __init__(self, boundary: bytes, wanted: str, max_files: int) -> None:
        self.parts: list[Part] = []
        self._wanted = wanted
        self._max_files = max_files
        self._files = 0
        self._is_file = False  # the part that is being received
        self._ended = False
        self._header_name = b""
        self._header_value = b""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_part_data": self._data,
                    "on_header_field": self._field,
                    "on_header_value": self._value,
                    "on_header_end": self._header,
                    "on_headers_finished": self._name,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise MalformedRequest(f"The boundary of the multipart body cannot be used: {error}") from None

    def write(self, chunk: bytes) -> None:
        """Raises `MalformedRequest` for a broken body, `TooLarge` for too many files."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedRequest(f"The multipart body is broken: {error}. Let the HTTP client build it.") from None

    def finish(self) -> list[Part]:
        """All parts; raises `MalformedRequest` where the body stops before its last boundary."""
        if not self._ended:
            raise MalformedRequest("The multipart body ends before its closing boundary: it is truncated or empty.")
        return self.parts

    def _begin(self) -> None:
        self.parts.append(Part(content=bytearray()))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].content += data[start:end]
        if not self._is_file and self.parts[-1].name == self._wanted:
            self._count_file()

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header(self) -> None:
        self.parts[-1].header(self._header_name, self._header_value)
        self._header_name = self._header_value = b""

    def _name(self) -> None:
        self._is_file = False
        if self.parts[-1].name == self._wanted and self.parts[-1].filename:
            self._count_file()
        elif len(self.parts) - self._files > MAX_OTHER_PARTS:
            raise MalformedRequest(f"More than {MAX_OTHER_PARTS} parts that are no file named {self._wanted!r}.")

    def _count_file(self) -> None:
        self._is_file = True
        self._files += 1
        if self._files > self._max_files:
            raise TooLarge(
                f"More than {self._max_files} parts named {self._wanted!r} in one request. "
                "Send fewer, or have DIGITS_MAX_BATCH_IMAGES raised."
            )

    def _end(self) -> None:
        self._ended = True


def _unescape(quoted: bytes) -> str:
    # Browsers write a quote as %22, older clients as \".
    return quoted.replace(b'\\"', b'"').replace(b"%22", b'"').decode("utf-8", "replace")
