"""The commands around the server: serve, models, bench."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from service.cli.exits import fail


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (DIGITS_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (DIGITS_PORT).")] = None,
) -> None:
    """Serve the models of the repository over HTTP. Every setting is an environment variable: docs/settings.md.

    Example: DIGITS_PORT=9000 digits serve
    """
    from service.server import serve as run
    from service.settings import read_settings

    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    run(read_settings(**given))


def models(
    url: Annotated[str | None, typer.Option(help="Ask the service at this address what it has loaded.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the model repository: versions, accuracy on MNIST's test set, when they were trained.

    Example: digits models --url http://127.0.0.1:8000
    """
    from service.cli.show import print_json, print_rows
    from service.settings import read_settings

    settings = read_settings()
    rows = _on_disk(settings) if url is None else _served(url, settings)
    if as_json:
        print_json(rows)
    else:
        print_rows(rows)


def _on_disk(settings: Any) -> list[dict[str, Any]]:
    import msgspec

    from service.inference.disk import Disk

    rows = []
    for entry in Disk(settings.model_repository, settings.mirror).fetch_first():
        card = entry.path / "model.json"
        facts = msgspec.json.decode(card.read_bytes(), type=dict[str, Any]) if card.exists() else {}
        rows.append(
            {
                "model": entry.name,
                "version": entry.version,
                "accuracy": facts.get("metrics", {}).get("test_accuracy"),
                "kb": (entry.path / "model.onnx").stat().st_size // 1000,
                "trained": facts.get("trained_at"),
            }
        )
    return rows


def _served(url: str, settings: Any) -> list[dict[str, Any]]:
    from service.cli.asking import OverHttp

    with OverHttp(url, settings) as service:
        return [
            {
                "model": model["name"],
                "version": version["version"],
                "state": version["state"],
                "provider": version["provider"],
                "accuracy": version["test_accuracy"],
                "trained": version["trained_at"],
            }
            for model in service.get("/models")["models"]
            for version in model["versions"]
        ]


def bench(context: typer.Context) -> None:
    """Measure the service under load, beside its floors and peers. Needs a clone of the repository, and wrk.

    Example: digits bench --quick. `digits bench -- --help` tells its options.
    """
    try:
        from benchmarks.__main__ import main
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("benchmarks"):
            fail("the benchmark is not part of the package: run `make bench` in a clone of the repository.", 1)
        fail(f"the benchmark needs more packages ({error}): run `make bench`, which installs them.", 1)
    sys.argv = ["digits bench", *context.args]
    raise SystemExit(main())
