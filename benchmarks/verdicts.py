r"""What a running service says of digits and of everything else, measured from outside, picture by picture.

    digits serve &
    python -m benchmarks.verdicts http://127.0.0.1:8000 --data ../shared/data/mnist \
        --unseen fashion=../shared/data/ood_sample.npz --unseen hands=fonts/hands

Prints Markdown: what becomes of the test digits, how often their prediction sets hold them, and for each family of
other pictures the share refused and the area under ROC against the test digits.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from PIL import Image

from training import outliers
from training.conformal import REPORTED
from training.data import Digits, load
from training.detection import area
from training.outliers import strangers, surfaces

Picture = npt.NDArray[np.uint8]  # (height, width)
Answers = list[dict[str, Any]]
BATCH = 200
COUNT = 1000


class Service:
    """The predictions of one model of a running service."""

    def __init__(self, client: httpx.Client, model: str) -> None:
        self._client = client
        self._model = model

    def ask(self, pictures: Sequence[Picture], **query: str | float) -> Answers:
        answers: Answers = []
        for first in range(0, len(pictures), BATCH):
            files = [("files", (f"{n}.png", _png(one))) for n, one in enumerate(pictures[first : first + BATCH])]
            reply = self._client.post("/predict/batch", files=files, params={"model": self._model, **query})
            answers += reply.raise_for_status().json()["predictions"]
        return answers


def _png(picture: Picture) -> bytes:
    encoded = BytesIO()
    Image.fromarray(picture).save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()


def digits_table(service: Service, digits: Digits) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Verdicts and coverage of digits, and the score of each."""
    answers = service.ask(list(digits.images))
    verdicts = [answer["verdict"] for answer in answers]
    right = [answer["digit"] == int(label) for answer, label in zip(answers, digits.labels, strict=True)]
    uncertain = [kept for kept, verdict in zip(right, verdicts, strict=True) if verdict == "uncertain"]
    lines = ["| digits | % |", "| --- | --- |"]
    lines += [
        f"| {verdict} | {100 * verdicts.count(verdict) / len(verdicts):.2f} |"
        for verdict in ("digit", "uncertain", "not_a_digit")
    ]
    lines += [f"| uncertain ones that are wrong | {100 * (1 - np.mean(uncertain)):.1f} |"] if uncertain else []
    lines += ["", "| coverage | covered | mean size of the set | empty |", "| --- | --- | --- | --- |"]
    for coverage in REPORTED:
        asked = service.ask(list(digits.images), coverage=coverage)
        sets = [answer["prediction_set"]["digits"] for answer in asked]
        covered = np.mean([int(label) in held for label, held in zip(digits.labels, sets, strict=True)])
        sizes = np.array([len(held) for held in sets])
        lines.append(f"| {coverage} | {covered:.4f} | {sizes.mean():.4f} | {(sizes == 0).mean():.4f} |")
    return lines, _scores(answers)


def _scores(answers: Answers) -> npt.NDArray[np.float64]:
    """A blank picture's or one of several marks is refused without the network; its score counts as it is told."""
    return np.array([answer["out_of_distribution_score"] for answer in answers])


def families(digits: Digits, unseen: Sequence[str]) -> Iterator[tuple[str, Sequence[Picture], str]]:
    """Name, pictures and preprocessing of each family that no fit saw, and of plain noise, blanks and textures."""
    rng = np.random.default_rng(2026)
    side = (28, 28)
    yield "uniform noise", list(rng.integers(0, 256, (COUNT, *side), np.uint8)), "auto"
    yield "Gaussian noise", list(_levels(rng.normal(127, 60, (COUNT, *side)))), "auto"
    yield "uniform noise, raw", list(rng.integers(0, 256, (COUNT, *side), np.uint8)), "none"
    yield "Gaussian noise, raw", list(_levels(rng.normal(127, 60, (COUNT, *side)))), "none"
    yield "blank", [np.full(side, level, np.uint8) for level in range(256)], "auto"
    yield "textures", list(surfaces.textures(COUNT, rng, placed=0.0)), "auto"
    for name in outliers.HELD_OUT:
        drawn, _ = outliers.draw(COUNT, digits.images, digits.labels, rng, [name])
        yield f"{name}, as the network sees them", list(drawn), "none"
    for told in unseen:
        name, _, path = told.partition("=")
        found = Path(path)
        yield name, strangers.pictures(found, COUNT, rng) if found.is_dir() else list(np.load(found)["images"]), "auto"
        if found.suffix == ".npz":
            yield f"{name}, raw", list(np.load(found)["images"]), "none"


def _levels(values: npt.NDArray[np.floating]) -> Picture:
    levels: Picture = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return levels


def report(service: Service, digits: Digits, unseen: Sequence[str]) -> Iterator[str]:
    """The lines, each as soon as it is measured."""
    lines, scores = digits_table(service, digits)
    yield from [*lines, "", "| family | refused % | area under ROC |", "| --- | --- | --- |"]
    for name, pictures, preprocess in families(digits, unseen):
        answers = service.ask(pictures, preprocess=preprocess)
        refused = np.mean([answer["verdict"] == "not_a_digit" for answer in answers])
        yield f"| {name} | {100 * refused:.1f} | {area(scores, _scores(answers)):.4f} |"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--data", type=Path, help="as in training; its test digits are asked")
    parser.add_argument("--unseen", action="append", default=[], metavar="NAME=PATH")
    options = parser.parse_args(argv)
    digits = load(options.data).test
    with httpx.Client(base_url=options.url, timeout=120) as client:
        for line in report(Service(client, options.model), digits, options.unseen):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
