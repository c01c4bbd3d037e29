"""A whole body to the pictures in it: encoded files or pixel arrays, and what is wrong with those that are none."""

from __future__ import annotations

import binascii
import re
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Struct

from service.api.bodies import Body
from service.api.multipart import Part
from service.errors import (
    InvalidImage,
    InvalidValue,
    MalformedRequest,
    ServiceError,
    TooLarge,
    UnsupportedMediaType,
)
from service.imaging.grey import GreyImage

DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
FILE = "a string, the base64 of an image file or a data: URL"
LEVEL = "a whole number 0..255"
ROWS = f"a list of rows, each a list that holds {LEVEL} a pixel"
NO_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
TOLD_CHARACTERS = 40  # of a value that is none
Level = Annotated[int, msgspec.Meta(ge=0, le=255)]


class Submitted(Struct, frozen=True):
    """One picture as a client sent it: an encoded file, pixels, or what is wrong with it."""

    content: bytes | bytearray | GreyImage | ServiceError
    filename: str | None = None


def one_picture(body: Body) -> Submitted:
    """The picture of a request that holds one.

    Raises:
        MalformedRequest: broken JSON, a truncated form, no picture or several.
        InvalidImage, InvalidValue: what stands in the picture's place is none.
    """
    if body.kind == "file":
        if not body.content:
            raise MalformedRequest("The body is empty: expected an encoded picture in it.")
        return Submitted(body.content)
    if body.kind == "form":
        pictures = _files(body.parts, "file")
        if len(pictures) > 1:
            raise MalformedRequest(f"{len(pictures)} parts named 'file'; this route takes one. Use /predict/batch.")
        return pictures[0]
    image, pixels = _json_fields(body.content, "image", "pixels")
    return Submitted(from_base64(image, "image") if image is not None else _from_rows(pixels, "pixels"))


def many_pictures(body: Body, max_images: int) -> list[Submitted]:
    """The pictures of a batch; what is wrong with one of them stands in its place.

    Raises:
        MalformedRequest: broken JSON, a truncated form, no picture in it.
        TooLarge: more than `max_images`.
        UnsupportedMediaType: a lone picture.
    """
    if body.kind == "file":
        raise UnsupportedMediaType(
            "A batch comes as multipart/form-data with parts named 'files', or as application/json. "
            "For one picture use /predict."
        )
    if body.kind == "form":
        return _files(body.parts, "files")
    images, pixels = _json_fields(body.content, "images", "pixels")
    name = "images" if images is not None else "pixels"
    kind = "base64 strings" if images is not None else "pictures, each a list of rows"
    items = decode_part(images if images is not None else pixels, list[msgspec.Raw], name, f"a list of {kind}")
    if not items:
        raise MalformedRequest(f"{name!r} is an empty list: expected at least one picture.")
    if len(items) > max_images:
        raise TooLarge(
            f"{len(items)} images in one request, at most {max_images}. "
            "Send fewer, or have DIGITS_MAX_BATCH_IMAGES raised."
        )
    read = from_base64 if images is not None else _from_rows
    return [Submitted(_or_error(read, item, f"{name}[{index}]")) for index, item in enumerate(items)]


def _files(parts: list[Part], wanted: str) -> list[Submitted]:
    found = [part for part in parts if part.is_file(wanted)]
    if not found:
        names = ", ".join(sorted({_part_told(part, wanted) for part in parts})) or "no part"
        raise MalformedRequest(f"Expected a file in a part named {wanted!r}; found {names}. {_curl_hint(wanted)}")
    return [Submitted(part.content, part.filename) for part in found]


def _part_told(part: Part, wanted: str) -> str:
    return f"{part.name!r}, which is empty: no file was chosen" if part.name == wanted else repr(part.name)


def _curl_hint(wanted: str) -> str:
    return f"With curl: -F {wanted}=@picture.png"


def _json_fields(content: bytes | bytearray, *names: str) -> tuple[msgspec.Raw | None, ...]:
    """The values of the one of `names` that the object has, None for the others."""
    try:
        fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise MalformedRequest(
            f"The body is {_told(content)}: expected a JSON object with {' or '.join(map(repr, names))}."
        ) from None
    except NO_JSON as error:
        raise MalformedRequest(f"The body is not JSON: {why_no_json(error)}") from None
    given = [name for name in names if name in fields and bytes(fields[name]) != b"null"]
    if len(given) != 1:
        nulls = [name for name in names if name in fields and name not in given]
        came = ", ".join(f"{name!r}: null" if name in nulls else repr(name) for name in list(fields)[:8])
        raise MalformedRequest(
            f"Expected either {' or '.join(map(repr, names))} in the JSON object; came {came or 'an empty object'}."
        )
    return tuple(fields[name] if name in given else None for name in names)


def decode_part(raw: Any, kind: Any, name: str, expected: str = "") -> Any:
    """What stands in the field `name` as `kind`, in words `expected`. Raises `InvalidValue`, `MalformedRequest`."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        if expected:
            raise InvalidValue(f"{name!r} is {_told(raw)}: expected {expected}.") from None
        raise InvalidValue(f"In {name!r}: {error}") from None
    except NO_JSON as error:
        raise MalformedRequest(f"In {name!r}: not JSON: {why_no_json(error)}") from None


def why_no_json(error: Exception) -> object:
    """In words what an error of `NO_JSON` complains of."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else error


def from_base64(raw: Any, name: str) -> bytes:
    text: str = decode_part(raw, str, name, FILE)
    match = DATA_URL.match(text)
    if text[:5].lower() == "data:" and match is None:
        raise InvalidImage(f"{name!r} is a data: URL without base64. Expected data:image/png;base64,...")
    payload = text[match.end() if match else 0 :].translate(_TOLERATED)
    try:
        content = binascii.a2b_base64(payload + "=" * (-len(payload) % 4), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage(
            f"{name!r} is not base64 ({error}). Expected the base64 of an image file, or a data: URL."
        ) from None
    if not content:
        raise InvalidImage(f"{name!r} is empty. Expected the base64 of an image file, or a data: URL.")
    return content


# Line breaks as MIME sets them, and the URL-safe alphabet, mean what they mean everywhere.
_TOLERATED = str.maketrans({" ": None, "\n": None, "\r": None, "\t": None, "-": "+", "_": "/"})


def _from_rows(raw: Any, name: str) -> GreyImage:
    try:
        rows = decode_part(raw, list[list[Level]], name)
    except InvalidValue:
        rows = decode_part(raw, Any, name, ROWS)
        _check_levels(rows, name)
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        lengths = sorted({len(row) for row in rows})[:4]
        raise InvalidValue(f"{name!r} must be rows of one length, at least one pixel; came lengths {lengths}.")
    return np.array(rows, np.uint8)


def _check_levels(rows: Any, name: str) -> None:
    """Raises `InvalidValue`, which tells the first value that is none and where it stands; 7.0 is a whole number."""
    if not isinstance(rows, list):
        raise InvalidValue(f"{name!r} is {_json(rows)}: expected {ROWS}.")
    for place, row in enumerate(rows):
        if not isinstance(row, list):
            raise InvalidValue(f"Row {place} of {name!r} is {_json(row)}: expected a list that holds {LEVEL} a pixel.")
        for column, value in enumerate(row):
            if type(value) not in (int, float) or not 0 <= value <= 255 or value != int(value):
                raise InvalidValue(f"Row {place}, column {column} of {name!r} is {_json(value)}: expected {LEVEL}.")


def _json(value: Any) -> str:
    return _told(msgspec.json.encode(value))


def _told(raw: Any) -> str:
    """The beginning of a piece of JSON."""
    text = bytes(memoryview(raw)[: 4 * TOLD_CHARACTERS]).decode("utf-8", "replace").strip()
    return text if len(text) <= TOLD_CHARACTERS else f"{text[:TOLD_CHARACTERS]}..."


def _or_error(read: Any, raw: Any, name: str) -> Any:
    try:
        return read(raw, name)
    except ServiceError as error:
        return error
