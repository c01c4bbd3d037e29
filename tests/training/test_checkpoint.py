from dataclasses import replace
from pathlib import Path

import pytest

from training import recipes
from training.checkpoint import Checkpoints, State, fingerprint
from training.errors import ResumeError

RECIPE = recipes.find("dense-512")
EXPECTED = fingerprint(RECIPE, 0, "digest")


class File:
    """A network that is a text; it saves itself as Keras' networks do."""

    def __init__(self, text: str) -> None:
        self.text = text

    def save(self, path: Path) -> None:
        path.write_text(self.text)


def epoch(state: State, loss: float, training_accuracy: float = 0.5) -> bool:
    return state.add({"val_accuracy": 0.5, "val_loss": loss, "accuracy": training_accuracy}, 1.0)


def test_the_best_epoch_is_the_first_with_the_least_validation_loss():
    state = State(EXPECTED)
    assert [epoch(state, loss) for loss in (0.5, 0.6, 0.4, 0.4)] == [True, False, True, False]
    assert (state.epoch, state.best_epoch, state.seconds) == (4, 3, 4.0)


def test_where_the_last_weights_count_every_epoch_is_kept():
    state = State(EXPECTED)
    assert [state.add({"val_loss": loss}, 1.0, keep_last=True) for loss in (0.5, 0.6, 0.4, 0.7)] == [True] * 4
    assert state.best_epoch == 4


def test_a_fit_has_stalled_when_the_training_accuracy_has_not_risen_for_so_many_epochs():
    state = State(EXPECTED)
    stalled = []
    for accuracy in (0.1, 0.3, 0.3, 0.2, 0.3):
        epoch(state, 0.5, training_accuracy=accuracy)
        stalled.append(state.has_stalled(3))
    assert stalled == [False, False, False, False, True]


def test_only_the_newest_epoch_is_kept_with_the_weights_of_the_best_one(tmp_path):
    checkpoints, state = Checkpoints(tmp_path / "run"), State(EXPECTED)
    for number, loss in enumerate((0.5, 0.3, 0.4), start=1):
        best = epoch(state, loss)
        checkpoints.save(File(f"epoch {number}"), File(f"measured {number}"), state, is_best=best)
    assert [folder.name for folder in (tmp_path / "run").iterdir()] == ["epoch-00003"]
    newest = checkpoints.newest()
    assert (newest / "latest.keras").read_text() == "epoch 3"
    assert (newest / "best.keras").read_text() == "measured 2"
    assert checkpoints.start(EXPECTED, 5, resume=True) == state


def test_a_new_run_clears_what_an_older_one_left(tmp_path):
    checkpoints, state = Checkpoints(tmp_path / "run"), State(EXPECTED)
    epoch(state, 0.5)
    checkpoints.save(File(""), File(""), state, is_best=True)
    assert checkpoints.start(EXPECTED, 5, resume=False) == State(EXPECTED)
    assert checkpoints.newest() is None


def test_half_a_checkpoint_is_not_seen(tmp_path):
    checkpoints, state = Checkpoints(tmp_path), State(EXPECTED)
    epoch(state, 0.5)
    checkpoints.save(File(""), File(""), state, is_best=True)
    (tmp_path / ".writing").mkdir()
    assert checkpoints.newest().name == "epoch-00001"


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(ResumeError, match="nothing to resume"):
        Checkpoints(tmp_path / "run").start(EXPECTED, 5, resume=True)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (fingerprint(RECIPE, 1, "digest"), "another seed"),
        (fingerprint(RECIPE, 0, "other"), "another data"),
        (fingerprint(replace(RECIPE, batch_size=64), 0, "digest"), "another batch size"),
        (fingerprint(recipes.find("dense-512x512"), 0, "digest"), "another name and network and optimiser"),
    ],
)
def test_another_runs_checkpoint_is_refused_by_what_differs(tmp_path, other, words):
    checkpoints, state = Checkpoints(tmp_path), State(EXPECTED)
    epoch(state, 0.5)
    checkpoints.save(File(""), File(""), state, is_best=True)
    with pytest.raises(ResumeError, match=words):
        checkpoints.start(other, 5, resume=True)


def test_another_number_of_epochs_is_no_other_run():
    assert fingerprint(replace(RECIPE, epochs=99), 0, "digest") == EXPECTED


def test_fewer_epochs_than_are_done_are_refused(tmp_path):
    checkpoints, state = Checkpoints(tmp_path), State(EXPECTED)
    for _ in range(3):
        epoch(state, 0.5)
    checkpoints.save(File(""), File(""), state, is_best=True)
    with pytest.raises(ResumeError, match=r"has 3 epochs already\. Give --epochs 3 to publish it"):
        checkpoints.start(EXPECTED, 2, resume=True)


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path):
    (tmp_path / "epoch-00001").mkdir()
    with pytest.raises(ResumeError, match="is damaged"):
        Checkpoints(tmp_path).start(EXPECTED, 5, resume=True)
