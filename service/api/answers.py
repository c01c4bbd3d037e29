"""What networks said of pictures, as the answers of the routes that predict or explain."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from service.api.asked import Asked
from service.api.schemas import (
    BatchItem,
    ConfidenceAnswer,
    ItemError,
    ModelOpinion,
    PredictAnswer,
    PredictionSet,
    Ranked,
    Receipt,
    SaliencyAnswer,
)
from service.api.submitted import Submitted
from service.errors import ServiceError
from service.imaging.normalise import Normalised
from service.inference.predictor import Prediction, entropy, ranking
from service.inference.saliency import Saliency
from service.inference.verdict import Reason, Verdict, prediction_set
from service.inference.version import ModelVersion

DEFAULT_COVERAGE = 0.99


def predicted(model: ModelVersion, row: Prediction, asked: Asked, image: Normalised) -> PredictAnswer:
    answer = PredictAnswer(model.name, model.version, *_said(row))
    if asked.receipt or asked.coverage is not None:
        _add(answer, model, row, asked, image)
    return answer


def item(
    index: int, picture: Submitted, model: ModelVersion, row: Prediction, asked: Asked, image: Normalised
) -> BatchItem:
    one = BatchItem(index, picture.filename, *_said(row))
    if asked.receipt or asked.coverage is not None:
        _add(one, model, row, asked, image)
    return one


def failed_item(index: int, picture: Submitted, error: ServiceError) -> BatchItem:
    return BatchItem(index, picture.filename, error=ItemError(error.code, error.detail))


def confidence(
    models: Sequence[ModelVersion], rows: Sequence[Prediction], asked: Asked, image: Normalised
) -> ConfidenceAnswer:
    """The first of `models` is the one that was asked for."""
    model, row = models[0], rows[0]
    ranked = ranking(row)
    return ConfidenceAnswer(
        model_name=model.name,
        model_version=model.version,
        digit=row.digit,
        confidence=row.confidence,
        probabilities=row.probabilities,
        verdict=row.verdict,
        reason=row.reason,
        ranking=[Ranked(digit, probability) for digit, probability in ranked],
        margin=round(ranked[0][1] - ranked[1][1], 7),
        entropy=round(entropy(row), 7),
        prediction_set=_prediction_set(model, row, asked.coverage or DEFAULT_COVERAGE),
        out_of_distribution_score=row.out_of_distribution_score,
        models={
            one.name: ModelOpinion(one.version, its.digit, its.confidence, its.probabilities, its.verdict)
            for one, its in zip(models, rows, strict=True)
        },
        agreement=len({its.digit for its in rows}) == 1,
        receipt=_receipt(asked, image),
    )


def saliency(model: ModelVersion, found: Saliency, asked: Asked, image: Normalised) -> SaliencyAnswer:
    return SaliencyAnswer(
        model.name,
        model.version,
        found.digit,
        found.confidence,
        found.values.round(4).tolist(),
        found.images,
        _receipt(asked, image),
    )


def _said(row: Prediction) -> tuple[int | None, float, list[float], Verdict, Reason | None, float | None]:
    """What stands in the answer for one picture as in an item of a batch, in the order of both."""
    return row.digit, row.confidence, row.probabilities, row.verdict, row.reason, row.out_of_distribution_score


def _add(
    answer: PredictAnswer | BatchItem, model: ModelVersion, row: Prediction, asked: Asked, image: Normalised
) -> None:
    """What the usual answer has not."""
    answer.receipt = _receipt(asked, image)
    if asked.coverage is not None:
        answer.prediction_set = _prediction_set(model, row, asked.coverage)


def _receipt(asked: Asked, image: Normalised) -> Receipt | UnsetType:
    return Receipt(image.pixels.tolist(), list(image.steps), list(image.warnings)) if asked.receipt else UNSET


def _prediction_set(model: ModelVersion, row: Prediction, coverage: float) -> PredictionSet:
    digits = prediction_set(row.probabilities, row.out_of_distribution_score, coverage, model.card.conformal)
    return PredictionSet(coverage, digits)
