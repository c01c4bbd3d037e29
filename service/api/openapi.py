"""What OpenAPI says of the routes whose bodies we read ourselves: every body form, parameter, answer and error."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.api.problems import PROBLEM_JSON, STATUS_OF_CODE
from service.api.schemas import json_schemas
from service.api.v2.messages import PUBLISHED as V2_PUBLISHED

PROBLEM = PROBLEM_JSON.decode()
BODY_ERRORS = (
    "malformed_request", "unauthorized", "model_not_found", "too_large", "unsupported_media_type", "invalid_image",
    "validation_error", "overloaded", "not_ready", "deadline_exceeded", "internal",
)  # fmt: skip
ENCODED = {
    "type": "string",
    "format": "binary",
    "description": "PNG, JPEG, WebP, BMP, GIF or TIFF, told by its content",
}
BASE64 = {"type": "string", "description": "base64 of an image file, or a data: URL"}
PIXELS = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": 255}},
    "description": "Height x width grey levels, rows of one length",
}
IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif", "image/tiff")

_CHART = {"schema": {"type": "string", "format": "binary", "description": "The ten probabilities as bars."}}
CHARTS = {"responses": {"200": {"content": {"image/svg+xml": _CHART, "image/png": _CHART}}}}


def answers(answer: type[msgspec.Struct], *codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: `answer` at 200, a problem for each error code."""
    content = {"application/json": _schema(answer.__name__)}
    return _responses((answer.__doc__ or "").strip(), content, codes, {PROBLEM: _schema("Problem")})


def text_answers(description: str, *codes: str) -> dict[int | str, dict[str, Any]]:
    """The same of a route that answers plain text."""
    problem = {PROBLEM: _schema("Problem")}
    return _responses(description, {"text/plain": {"schema": {"type": "string"}}}, codes, problem)


def protocol_answers(
    answer: type[msgspec.Struct] | None, *codes: str, many: bool = False
) -> dict[int | str, dict[str, Any]]:
    """The same of a route below /v2, whose errors are the protocol's; None is an empty answer."""
    content = {} if answer is None else {"application/json": _schema(answer.__name__)}
    if many:
        content["application/json"] = {"schema": {"type": "array", "items": content["application/json"]["schema"]}}
    told = {"application/json": _schema("ProtocolError")}
    return _responses((answer.__doc__ or "").strip() if answer else "Done", content, codes, told)


def _responses(
    description: str, content: dict[str, Any], codes: Sequence[str], error: dict[str, Any]
) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {200: {"description": description, "content": content}}
    for code in codes:
        status = STATUS_OF_CODE.get(code, 500)
        if error.get("application/json") and status == HTTPStatus.UNPROCESSABLE_ENTITY:
            status = HTTPStatus.BAD_REQUEST
        said = responses.setdefault(int(status), {"description": "", "content": error})
        said["description"] = " or ".join(filter(None, [said["description"], f"`{code}`"]))
    return responses


def _schema(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def one_picture(*, sets: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that takes one picture; `sets` where it gives prediction sets."""
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": _object(file=ENCODED)},
        "application/json": {"schema": {"oneOf": [_object(image=BASE64), _object(pixels=PIXELS)]}},
        "application/octet-stream": {"schema": ENCODED},
    }
    content |= {media: {"schema": ENCODED} for media in IMAGE_TYPES}
    parameters = _parameters() + (_coverage() if sets else [])
    return {"requestBody": {"required": True, "content": content}, "parameters": parameters}


def many_pictures(max_images: int) -> dict[str, Any]:
    """`openapi_extra` of a route that takes several."""
    limits = {"type": "array", "minItems": 1, "maxItems": max_images}
    content = {
        "multipart/form-data": {"schema": _object(files=limits | {"items": ENCODED})},
        "application/json": {
            "schema": {
                "oneOf": [_object(images=limits | {"items": BASE64}), _object(pixels=limits | {"items": PIXELS})]
            }
        },
    }
    return {"requestBody": {"required": True, "content": content}, "parameters": _parameters() + _coverage()}


def inference() -> dict[str, Any]:
    """`openapi_extra` of the infer routes."""
    content = {
        "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    header = {"type": "integer", "minimum": 0}
    told = "How many bytes of JSON, before compression, the body begins with; raw tensors follow."
    name = "Inference-Header-Content-Length"
    parameter = {"name": name, "in": "header", "required": False, "schema": header, "description": told}
    return {"requestBody": {"required": True, "content": content}, "parameters": [parameter]}


def _parameters() -> list[dict[str, Any]]:
    return [
        _query("model", {"type": "string"}, "Which model answers. Default: `DIGITS_DEFAULT_MODEL`."),
        _query("version", {"type": "string"}, "Which version of it. Default: the newest ready one."),
        _query(
            "preprocess",
            {"type": "string", "enum": ["auto", "none"], "default": "auto"},
            "`auto` turns any picture of one digit into MNIST's convention, `none` takes 28 x 28 as it comes.",
        ),
        _query(
            "receipt",
            {"type": "boolean", "default": False},
            "Also answer with the 28 x 28 pixels that the network saw, and the steps that led there.",
        ),
    ]


def _coverage() -> list[dict[str, Any]]:
    limits = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    told = "Answer with the digits that hold the true one so often. `/confidence` always does, by default at 0.99."
    return [_query("coverage", limits, told)]


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def describe(app: FastAPI, *, with_key: bool) -> None:
    """Let `app.openapi()` tell the schemas that FastAPI cannot see, and the key where one is set."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {}).update(json_schemas(*V2_PUBLISHED))
            for name in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(name, None)
            _drop_framework_errors(schema)
            _tell_what_every_route_has(schema)
            if with_key:
                components["securitySchemes"] = {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                }
                schema["security"] = [{"bearer": []}, {"header": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _tell_what_every_route_has(schema: dict[str, Any]) -> None:
    header = {"description": "The client's, where it sent a sane one.", "schema": {"type": "string"}}
    for path, operations in schema["paths"].items():
        kind, error = ("application/json", "ProtocolError") if path.startswith("/v2") else (PROBLEM, "Problem")
        for operation in operations.values():
            for code in ("too_slow", "head_too_large"):  # refused before any route is found
                told = {"description": f"`{code}`", "content": {kind: _schema(error)}}
                operation["responses"].setdefault(str(STATUS_OF_CODE[code]), told)
            for answer in operation["responses"].values():
                answer["headers"] = {"X-Request-ID": header}


def _drop_framework_errors(schema: dict[str, Any]) -> None:
    # FastAPI adds its own 422 to every route with a path parameter; ours never answers that.
    for path in schema["paths"].values():
        for operation in path.values():
            said = operation["responses"].get("422", {})
            if "HTTPValidationError" in str(said):
                del operation["responses"]["422"]
