"""The answers of the API. One definition makes both the bytes (msgspec) and the schemas in OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Digit = Annotated[int, Meta(ge=0, le=9)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Probabilities = Annotated[
    list[float],
    Meta(min_length=10, max_length=10, description="Calibrated softmax probabilities, index = digit; they sum to 1."),
]


Answered = Annotated[
    Digit | None,
    Meta(description="The digit with the largest probability; null exactly where the verdict is not_a_digit."),
]
Verdict = Annotated[
    Literal["digit", "uncertain", "not_a_digit"],
    Meta(description="Whether to act on the digit, to look again, or that the picture holds no digit."),
]
Reason = Annotated[
    Literal["blank", "out_of_distribution", "ambiguous", "several_marks"] | None,
    Meta(description="Why the verdict is not `digit`; null where it is."),
]
Score = Annotated[
    Probability | None,
    Meta(
        description="How little it looks like a digit; above 0.5 it is refused. Null from a network that cannot tell.",
    ),
]


class PredictionSet(Struct):
    """The digits that the picture may hold, likeliest first: of pictures of digits, `coverage` have theirs in it."""

    coverage: float
    digits: Annotated[
        list[Digit],
        Meta(description="Empty where the picture is less like a digit than `coverage` asks to follow."),
    ]


class Receipt(Struct):
    """What the network saw."""

    pixels: Annotated[list[list[int]], Meta(description="28 x 28 integers, 0 = background, 255 = ink.")]
    steps: Annotated[list[str], Meta(description="What was done to the picture, in order.")]
    warnings: Annotated[list[str], Meta(description="What may make the answer doubtful.")]


class PredictAnswer(Struct):
    """The digit in one picture."""

    model_name: str
    model_version: str
    digit: Answered
    confidence: Annotated[float, Meta(description="The largest of the probabilities.")]
    probabilities: Probabilities
    verdict: Verdict
    reason: Reason
    out_of_distribution_score: Score
    prediction_set: PredictionSet | UnsetType = UNSET
    receipt: Receipt | UnsetType = UNSET


class ItemError(Struct):
    """Why one picture of a batch has no prediction."""

    code: str
    detail: str


class BatchItem(Struct):
    """One picture of a batch, in the request's order: a prediction, or an error."""

    index: int
    filename: str | None = None
    digit: Answered | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    probabilities: Probabilities | UnsetType = UNSET
    verdict: Verdict | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET
    out_of_distribution_score: Score | UnsetType = UNSET
    prediction_set: PredictionSet | UnsetType = UNSET
    receipt: Receipt | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET


class BatchAnswer(Struct):
    """The digits in several pictures."""

    model_name: str
    model_version: str
    predictions: list[BatchItem]
    succeeded: int
    failed: int


class Ranked(Struct):
    """One place in the ranking."""

    digit: Digit
    probability: float


class ModelOpinion(Struct):
    """What one network says."""

    model_version: str
    digit: Answered
    confidence: float
    probabilities: Probabilities
    verdict: Verdict


class ConfidenceAnswer(Struct):
    """How sure, and why."""

    model_name: str
    model_version: str
    digit: Answered
    confidence: float
    probabilities: Probabilities
    verdict: Verdict
    reason: Reason
    ranking: Annotated[list[Ranked], Meta(description="Likeliest first.")]
    margin: Annotated[float, Meta(description="First minus second probability.")]
    entropy: Annotated[float, Meta(description="Shannon entropy in nats: 0 when certain, 2.303 when all are equal.")]
    prediction_set: PredictionSet
    out_of_distribution_score: Score
    models: Annotated[dict[str, ModelOpinion], Meta(description="One distribution a model.")]
    agreement: Annotated[bool, Meta(description="Whether all models name the same digit, or all none.")]
    receipt: Receipt | UnsetType = UNSET


class SaliencyAnswer(Struct):
    """Where the network looked."""

    model_name: str
    model_version: str
    digit: Annotated[Digit, Meta(description="The likeliest digit, which the values are about.")]
    confidence: float
    saliency: Annotated[
        list[list[float]],
        Meta(
            description="28 x 28 falls of the digit's log-odds, in nats, when a patch around the pixel is hidden; "
            "negative where hiding helps it."
        ),
    ]
    images: Annotated[int, Meta(description="How many images the network was asked for this.")]
    receipt: Receipt | UnsetType = UNSET


class VersionInfo(Struct):
    """One version of a model."""

    version: str
    state: Literal["LOADING", "READY", "FAILED", "UNAVAILABLE"]
    reason: str | None
    provider: Annotated[str | None, Meta(description="The execution provider in use, as the session reports it.")]
    test_accuracy: float | None
    calibration: dict[str, Any] | None
    sha256: Annotated[str, Meta(description="Digest of model.onnx.")]
    trained_at: str | None
    max_batch_size: int
    report: Annotated[str | None, Meta(description="Path of the page that `digits report` wrote about it.")]
    card: Annotated[dict[str, Any], Meta(description="How it was made: `model.json` without its golden inputs.")]


class ModelInfo(Struct):
    """One model with its versions, newest first."""

    name: str
    default: Annotated[bool, Meta(description="Whether it answers when a request names no model.")]
    ready: bool
    labels: list[str]
    versions: list[VersionInfo]


class ModelList(Struct):
    """What is loaded."""

    models: list[ModelInfo]


class Live(Struct):
    """The process answers."""

    live: bool


class Ready(Struct):
    """Whether requests will be answered."""

    ready: bool
    models: Annotated[dict[str, bool], Meta(description="Each model that must be ready.")]


class Problem(Struct):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: Annotated[str, Meta(description="What was expected, what came, how to mend it.")]
    instance: str
    code: str


encode = msgspec.json.Encoder().encode

PUBLISHED = (PredictAnswer, BatchAnswer, ConfidenceAnswer, SaliencyAnswer, ModelList, ModelInfo, Live, Ready, Problem)


def json_schemas(*more: type[Struct]) -> dict[str, Any]:
    """The schemas of all answers, and of `more`, by name, for `#/components/schemas`."""
    _, components = msgspec.json.schema_components((*PUBLISHED, *more), ref_template="#/components/schemas/{name}")
    return components
