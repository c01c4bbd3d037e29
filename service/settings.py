"""Everything a user may set, read once from `DIGITS_*` and frozen. `docs/settings.md` lists each; a test compares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.errors import StartupError

PREFIX = "DIGITS_"
KEYS = ("api_key", "admin_key")
SCHEMES = ("s3", "gs", "gcs", "https", "http", "file")  # of a model repository that is an address


def default_model_repository() -> Path:
    """The models inside an installed wheel, else those of the checkout that this file is part of."""
    package = Path(__file__).resolve().parent
    bundled = package / "bundled_models"
    return bundled if bundled.is_dir() else package.parent / "models"


class Settings(BaseSettings):
    """The service's settings. Sizes are bytes, times seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    model_repository: Path | str = Field(
        default_factory=default_model_repository,
        description="Folder that holds `<name>/<version>/model.onnx`, or the `s3://`, `gs://` or `https://` address of "
        "one (needs the extra `remote`). Default: the models that come with the service.",
    )
    mirror: Path | None = Field(
        None,
        description="Where a repository that is an address is copied to. Default: a folder below the temporary one.",
    )
    reports: Path = Field(
        Path("reports"), description="Folder that `digits report` writes into; what it holds is served at `/reports`."
    )
    default_model: str = Field(
        "cnn",
        min_length=1,
        description="Model that answers when a request names none; one that is set must be there at the start.",
    )
    required_models: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma-separated models that must be loaded for the service to start and be ready. "
        "Empty: the default model, where it is in the repository, to start; to be ready all that could be served once "
        "and were not unloaded since.",
    )
    versions_kept: int = Field(
        4, ge=0, description="Newest versions of each model that stay loaded, of those that can be served; 0: all."
    )
    repository_poll_s: float = Field(
        5.0,
        ge=0,
        le=86_400,
        description="How often to look for new, changed and removed versions; 0: only on SIGHUP and load calls.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="`cuda` fails at start where CUDA does not run; `auto` falls back to the CPU with one warning.",
    )
    workers: int = Field(
        0, ge=0, le=1024, description="Processes that answer; 0: one for each CPU that the container may use."
    )
    threads: int = Field(
        0, ge=0, le=1024, description="ONNX Runtime threads per model and worker; 0 shares the CPUs among the workers."
    )
    max_batch_size: int = Field(
        0,
        ge=0,
        le=4096,
        description="Most images in one run of a network; 0: what its card says, or the best of some at load.",
    )
    max_queue_size: int = Field(
        2048,
        ge=1,
        description="Most images that may wait for one network, and most requests that one worker answers at once; "
        "more are refused with 503 and Retry-After. A single larger request is taken where nobody waits.",
    )
    max_body_bytes: int = Field(10 * 1024 * 1024, ge=1024, description="Largest request body.")
    max_pending_bytes: int = Field(
        256 * 1024 * 1024,
        ge=65_536,
        description="Most bytes of large bodies that one worker holds at once; more are refused with 503.",
    )
    max_image_pixels: int = Field(
        64_000_000, ge=1, description="Most pixels in one picture, told from its header before it is decoded."
    )
    max_batch_images: int = Field(256, ge=1, description="Most images in one `/predict/batch` request.")
    request_timeout_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="A request that waited longer for its turn is refused with 504; a connection on which a request "
        "comes slower than 1 KiB/s for that long is closed.",
    )
    api_key: SecretStr | None = Field(
        None,
        description="When set, every request but the health probes and the page's files must send it, "
        "as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    )
    admin_key: SecretStr | None = Field(
        None,
        description="Opens `/v2/repository/models/{model}/load` and `unload` to who sends it, in the headers of the "
        "API key, and all that the API key opens; without it the two answer nobody.",
    )
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="After SIGTERM: how long to go on answering, no longer ready, before closing the port.",
    )
    traces: bool = Field(
        False,
        description="Send OpenTelemetry traces; the standard `OTEL_` variables say where to. Needs the extra `otel`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto`: text on a terminal, JSON lines elsewhere."
    )
    access_log: bool = Field(True, description="One line a request, with its timings.")
    access_log_every: int = Field(
        1, ge=1, description="Log only every n-th request that was answered well; failures are always logged."
    )

    @field_validator("model_repository")
    @classmethod
    def _folder_or_address(cls, value: Path | str) -> Path | str:
        if not isinstance(value, str) or "://" not in value:
            return Path(value)
        if value.partition("://")[0] not in SCHEMES:
            raise PydanticCustomError("address", "Input should be a folder, or an s3://, gs:// or https:// address")
        return value

    @field_validator("required_models", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator(*KEYS)
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        key = value.get_secret_value() if value else ""
        if key != key.strip(" ") or any(char < " " for char in key):
            # A header loses the blanks around it, so whoever sent this key would send another one.
            raise PydanticCustomError(
                "key", "Input should neither begin nor end with a blank nor hold a line break: no header can carry it"
            )
        return value


def read_settings(**overrides: Any) -> Settings:
    """Settings from the environment, with `overrides` on top.

    Raises:
        StartupError: a value is out of its range; its one line names the variable, the value and what was expected.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = (f"{PREFIX}{_name_and_value(fault)}: {fault['msg']}" for fault in error.errors())
        raise StartupError("; ".join(faults)) from None


def _name_and_value(fault: ErrorDetails) -> str:
    """What was set; of a key, which goes into no log, the name alone."""
    name = "_".join(str(part) for part in fault["loc"])
    return name.upper() if name in KEYS else f"{name.upper()}={fault['input']!r}"


def unknown_variables() -> list[str]:
    """Names in the environment that carry our prefix and mean nothing to us: most likely a typing error."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
