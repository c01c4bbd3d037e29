"""Log lines: JSON where no terminal reads them."""

import asyncio
import json
import logging

import pytest
import structlog

from service.logs import AccessLog, configure_logs


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_our_lines_and_the_libraries_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "auto")
    structlog.stdlib.get_logger("ours").warning("low disk", free=3)
    logging.getLogger("uvicorn.error").info("Started %d", 7, extra={"color_message": "x"})
    logging.getLogger("ours").debug("not shown")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"], first["free"]) == ("low disk", "warning", 3)
    assert (second["event"], second["logger"]) == ("Started 7", "uvicorn.error")
    assert "color_message" not in second


def test_a_traceback_stays_in_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    try:
        raise ValueError("inner")
    except ValueError as error:
        structlog.stdlib.get_logger("ours").error("failed", exc_info=error)
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: inner" in json.loads(line)["exception"]


def test_console_lines_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "console")
    structlog.stdlib.get_logger("ours").info("hello", who="you")
    assert "hello" in capsys.readouterr().err


def test_access_lines_carry_status_id_and_timings(capsys: pytest.CaptureFixture[str]) -> None:
    async def requests() -> None:
        for enabled, log_format in ((True, "json"), (True, "console"), (False, "json")):
            log = AccessLog(enabled=enabled, log_format=log_format)
            log.write("POST", "/predict", 200, 1.25, "id-1", "decode;dur=0.1")
            log.flush()

    asyncio.run(requests())
    as_json, as_text = capsys.readouterr().err.splitlines()
    assert json.loads(as_json)["duration_ms"] == 1.25
    assert json.loads(as_json)["server_timing"] == "decode;dur=0.1"
    assert all(part in as_text for part in ("POST /predict 200", "1.25 ms", "id-1"))


def test_a_sampled_access_log_keeps_every_failure(capsys: pytest.CaptureFixture[str]) -> None:
    async def requests() -> None:
        log = AccessLog(enabled=True, log_format="json", every=3)
        for number in range(9):
            log.write("POST", "/predict", 200 if number else 503, 1.0, f"id-{number}", "")
        log.flush()

    asyncio.run(requests())
    ids = [json.loads(line)["request_id"] for line in capsys.readouterr().err.splitlines()]
    assert ids == ["id-0", "id-3", "id-6"]
