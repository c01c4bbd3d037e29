"""A fit's state on disk after every epoch, so that it can be stopped at any moment and topped up later.

Each epoch is a folder of its own that appears by one rename: whatever is there is whole.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.errors import ResumeError
from training.recipe import Recipe

LATEST = "latest.keras"  # with the optimiser's state
MEASURED = "measured.keras"  # the weights that this epoch's figures are of: their average, where the recipe has one
BEST = "best.keras"  # those of the best epoch
STATE = "state.json"
TEACHERS = ".teachers"  # beside the runs' folders: the checkpoints of networks that taught some run


@dataclass
class State:
    """Where a fit is: `fingerprint` tells which run it is, `history` holds one value an epoch for each metric."""

    fingerprint: dict[str, Any]
    epoch: int = 0
    best_epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, logs: dict[str, float], seconds: float, *, keep_last: bool = False) -> bool:
        """Note one more epoch. True when its weights are to be kept: it has the least validation loss so far.

        Accuracy on a few thousand images is too coarse to choose by: it took epoch 9 of 36 (docs/log.md, 2026-11-23).
        """
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        self.epoch += 1
        self.seconds += seconds
        losses = self.history["val_loss"]
        if self.best_epoch and not keep_last and losses[-1] >= losses[self.best_epoch - 1]:
            return False
        self.best_epoch = self.epoch
        return True

    def has_stalled(self, patience: int) -> bool:
        """True when the training accuracy has not risen for `patience` epochs."""
        accuracy = self.history.get("accuracy", [])
        return len(accuracy) > patience and max(accuracy[-patience:]) <= max(accuracy[:-patience])


def fingerprint(recipe: Recipe, seed: int, digest: str) -> dict[str, Any]:
    """What must be the same for a checkpoint to be topped up; the number of epochs need not."""
    settings = json.loads(json.dumps(asdict(recipe)))
    del settings["epochs"]
    return {"recipe": settings, "seed": seed, "data": digest}


class Checkpoints:
    """The checkpoints of one recipe's run in `folder`; only the newest is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, expected: dict[str, Any], epochs: int, *, resume: bool) -> State:
        """The state a run begins with: that of the newest checkpoint, or a new one, which clears the folder.

        Raises:
            ResumeError: `resume`, and there is no checkpoint that this run could go on from.
        """
        if not resume:
            shutil.rmtree(self.folder, ignore_errors=True)
            return State(expected)
        state = self._read(expected)
        if state.epoch > epochs:
            raise ResumeError(
                f"The checkpoint in {self.folder} has {state.epoch} epochs already. "
                f"Give --epochs {state.epoch} to publish it, or more to top it up."
            )
        return state

    def newest(self) -> Path | None:
        """The folder of the last epoch, None before the first one has ended."""
        return max(self.folder.glob("epoch-*"), default=None)

    def save(self, network: Any, measured: Any, state: State, *, is_best: bool) -> None:
        """Write the network as it is after this epoch, with its optimiser, and the one that was measured."""
        previous = self.newest()
        staging = self.folder / ".writing"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        network.save(staging / LATEST)
        measured.save(staging / MEASURED)
        best = staging / MEASURED if is_best or previous is None else previous / BEST
        shutil.copyfile(best, staging / BEST)
        (staging / STATE).write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
        staging.rename(self.folder / f"epoch-{state.epoch:05d}")
        if previous is not None:
            shutil.rmtree(previous)

    def _read(self, expected: dict[str, Any]) -> State:
        newest = self.newest()
        if newest is None:
            raise ResumeError(f"There is nothing to resume in {self.folder}. Leave out --resume to start.")
        try:
            state = State(**json.loads((newest / STATE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ResumeError(f"The checkpoint {newest} is damaged ({error}). Leave out --resume to start.") from None
        different = [name for name in expected if state.fingerprint.get(name) != expected[name]]
        if different:
            names = " and ".join(_differences(state, expected, different))
            raise ResumeError(
                f"The checkpoint {newest} is of a run with another {names}. "
                "Give the same options, or leave out --resume to start anew."
            )
        return state


def _differences(state: State, expected: dict[str, Any], different: list[str]) -> list[str]:
    """Names a reader knows: the recipe's settings that differ, rather than "recipe"."""
    names: list[str] = []
    for name in different:
        before = state.fingerprint.get(name)
        if name == "recipe" and isinstance(before, dict):
            names += [key.replace("_", " ") for key in expected[name] if before.get(key) != expected[name][key]]
        else:
            names.append(name)
    return names or ["recipe"]
