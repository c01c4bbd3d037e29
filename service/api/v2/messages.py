"""The protocol's JSON, in and out. Fields that it does not name are let through: real clients send some."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Parameters = dict[str, Any]
Dimension = Annotated[int, Meta(ge=1)]
SomeData = Annotated[Any, Meta(description="The elements in row-major order, nested or flat.")]


class InferInput(Struct):
    """One input tensor; its elements stand in `data`, or after the JSON where `binary_data_size` is a parameter."""

    name: str
    shape: list[Dimension]
    datatype: str
    parameters: Parameters | None = None
    data: Raw | UnsetType = UNSET


class WantedOutput(Struct):
    """One output that the client wants."""

    name: str
    parameters: Parameters | None = None


class InferRequest(Struct):
    """What a client asks of a network."""

    inputs: list[InferInput]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[WantedOutput] | None = None


class InferOutput(Struct, omit_defaults=True):
    """One output tensor."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | UnsetType = UNSET
    data: SomeData | UnsetType = UNSET


class InferAnswer(Struct, omit_defaults=True):
    """What the network answered."""

    model_name: str
    model_version: str
    outputs: list[InferOutput]
    id: str | UnsetType = UNSET


class ServerMetadata(Struct):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Struct):
    """An input or output; a dynamic dimension is -1."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Struct):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerLive(Struct):
    """The process answers."""

    live: bool


class ServerReady(Struct):
    """Whether every required model answers."""

    ready: bool


class ModelReady(Struct):
    """Whether this model answers."""

    name: str
    ready: bool


class IndexEntry(Struct):
    """One version in the repository."""

    name: str
    version: str
    state: Literal["LOADING", "READY", "FAILED", "UNAVAILABLE"]
    reason: str


class IndexRequest(Struct):
    """Which versions a client wants to see."""

    ready: bool = False


class LoadRequest(Struct):
    """Parameters of a load call; we take none."""

    parameters: Parameters | None = None


class Duration(Struct, frozen=True):
    """How often, and how long together."""

    count: int = 0
    ns: int = 0


class InferenceStatistics(Struct):
    """Where the time of a version's requests went: `compute_output` is what is left of `success`."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


class BatchStatistics(Struct):
    """The runs of one size; what goes in and comes out is read and written request by request, outside of them."""

    batch_size: int
    compute_infer: Duration
    compute_input: Duration = Duration()
    compute_output: Duration = Duration()


class ModelStatistics(Struct):
    """What one version has done, in all workers together. `last_inference` is in milliseconds since 1970."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]


class StatisticsAnswer(Struct):
    """The statistics of all versions that were asked for."""

    model_stats: list[ModelStatistics]


class ProtocolError(Struct):
    """What went wrong, what was expected."""

    error: str


encode = msgspec.json.Encoder().encode

PUBLISHED = (
    InferRequest,
    InferAnswer,
    ServerMetadata,
    ModelMetadata,
    ServerLive,
    ServerReady,
    ModelReady,
    IndexEntry,
    StatisticsAnswer,
    ProtocolError,
)
