"""A hook of mkdocs: writes what OpenAPI says of routes and schemas into docs/openapi.md while the site is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.app import create_app
from service.settings import Settings

PLACE = "<!-- openapi -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    return markdown.replace(PLACE, "\n".join(reference())) if PLACE in markdown else markdown


def reference() -> Iterator[str]:
    """Markdown lines: a section for each operation, then one for each schema."""
    document = create_app(Settings()).openapi()
    yield "## Routes"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"\n### `{method.upper()} {path}`\n\n{operation.get('summary', '')}\n"
            yield from _parameters(operation.get("parameters", []))
            if body := operation.get("requestBody"):
                yield f"Body: {', '.join(f'`{media}`' for media in body['content'])}\n"
            yield from _answers(operation["responses"])
    yield "\n## Schemas"
    for name, schema in document["components"]["schemas"].items():
        yield f"\n### {name}\n\n{schema.get('description', '')}\n"
        yield from _fields(schema)


def _parameters(parameters: list[dict[str, Any]]) -> Iterator[str]:
    if parameters:
        yield "| parameter | in | type | meaning |\n| --- | --- | --- | --- |"
        for given in parameters:
            told = f"{given.get('description', '')}{' Needed.' if given.get('required') else ''}"
            yield f"| `{given['name']}` | {given['in']} | {_type(given['schema'])} | {told} |"
        yield ""


def _answers(responses: dict[str, Any]) -> Iterator[str]:
    yield "| status | answer | forms |\n| --- | --- | --- |"
    for status, answer in responses.items():
        forms = [
            f"{_type(content.get('schema', {}))} as `{media}`" for media, content in answer.get("content", {}).items()
        ]
        yield f"| {status} | {_one_line(answer['description'])} | {', '.join(forms)} |"


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    if not (fields := schema.get("properties")):
        return
    yield "| field | type | meaning |\n| --- | --- | --- |"
    for name, field in fields.items():
        optional = "" if name in schema.get("required", []) else " (may be left out)"
        yield f"| `{name}` | {_type(field)}{optional} | {_one_line(field.get('description', ''))} |"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_type, options))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
