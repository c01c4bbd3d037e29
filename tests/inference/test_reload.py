"""What happens on disk happens in memory, and nobody who asks meanwhile notices."""

import asyncio
import gc
import shutil
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import write_linear_model

from service.errors import NotReady
from service.inference.board import Board
from service.inference.reload import Reloader
from service.inference.repository import Repository

IMAGE = (np.full((1, 28, 28), 100, np.uint8),)
Scenario = Callable[[Repository, Reloader], Coroutine[Any, Any, None]]


def running(root: Path, scenario: Scenario, **changes: Any) -> None:
    """Run `scenario` with the repository at `root` loaded and followed."""

    async def main() -> None:
        options = {"device": "cpu", "threads": 1, "default_model": "cnn", "versions_kept": 2, **changes}
        repository = Repository(root, **options)
        reloader = Reloader(repository, Board(), poll_s=0, retire_after_s=0)
        reloader.load()
        repository.start(max_queue_size=64, inline_below_s=0.005)
        reloader.start()
        await scenario(repository, reloader)
        await reloader.close()
        await repository.close()

    asyncio.run(main())


def states(repository: Repository) -> dict[str, str]:
    return {version.version: version.state for version in repository.versions()}


def test_new_changed_and_removed_versions_are_followed(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1", seed=1)

    async def scenario(repository: Repository, reloader: Reloader) -> None:
        first = repository.find("cnn")
        write_linear_model(tmp_path / "cnn" / "2", seed=2)
        await reloader.refresh()
        second = repository.find("cnn")
        assert (second.version, repository.find("cnn", "1")) == ("2", first)
        write_linear_model(tmp_path / "cnn" / "2", seed=3)
        await reloader.refresh()
        third = repository.find("cnn")
        assert third is not second
        assert third.sha256 != second.sha256
        write_linear_model(tmp_path / "cnn" / "3", seed=4)
        await reloader.refresh()
        assert states(repository) == {"3": "READY", "2": "READY", "1": "UNAVAILABLE"}
        shutil.rmtree(tmp_path / "cnn" / "3")
        await reloader.refresh()
        assert states(repository) == {"2": "READY", "1": "READY"}
        assert repository.find("cnn") is third

    running(tmp_path, scenario)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("spoil", ["truncate", "empty", "card", "other network"])
def test_a_broken_version_is_told_and_what_answered_goes_on(tmp_path: Path, version: str, spoil: str) -> None:
    write_linear_model(tmp_path / "cnn" / "1", seed=1)

    async def scenario(repository: Repository, reloader: Reloader) -> None:
        before = repository.find("cnn")
        folder = tmp_path / "cnn" / version
        file = write_linear_model(folder, seed=2)
        whole = file.read_bytes()
        if spoil in ("truncate", "empty"):
            file.write_bytes(whole[: len(whole) // 2 if spoil == "truncate" else 0])
        elif spoil == "card":
            (folder / "model.json").write_text('{"files": {"model.onnx": {"sha256": "00"}}}')
        else:
            write_linear_model(folder, outputs=("logits",))
        await reloader.refresh()
        assert states(repository)[version] == "FAILED"
        assert repository.model_versions("cnn")[0].reason
        assert repository.find("cnn") is before
        assert repository.required_models == ("cnn",)
        assert repository.has_ready("cnn")
        assert len((await before.infer(IMAGE, 1.0)).outputs) == 3
        (folder / "model.json").unlink(missing_ok=True)
        file.write_bytes(whole)
        await reloader.refresh()
        assert states(repository)[version] == "READY"
        assert repository.find("cnn") is not before

    running(tmp_path, scenario)


def test_a_new_model_that_cannot_be_served_does_not_end_readiness(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")

    async def scenario(repository: Repository, reloader: Reloader) -> None:
        (tmp_path / "other" / "1").mkdir(parents=True)
        (tmp_path / "other" / "1" / "model.onnx").write_bytes(b"no network")
        await reloader.refresh()
        assert repository.model_names() == ["cnn", "other"]
        assert repository.required_models == ("cnn",)

    running(tmp_path, scenario)


def test_a_mutilated_network_hides_no_other(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    broken = write_linear_model(tmp_path / "broken" / "1")
    content = broken.read_bytes()
    for name in (b"logits", b"image", b"probabilities"):
        content = content.replace(name, b"\x89" * len(name))  # not UTF-8, which neither protobuf nor a session minds
    broken.write_bytes(content)

    async def scenario(repository: Repository, reloader: Reloader) -> None:
        assert {version.name: version.state for version in repository.versions()} == {
            "broken": "FAILED",
            "cnn": "READY",
        }
        write_linear_model(tmp_path / "cnn" / "2")
        await reloader.refresh()
        assert repository.find("cnn").version == "2"

    running(tmp_path, scenario)


def test_a_version_that_failed_is_not_tried_again_until_it_changes_or_is_asked_for(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    (tmp_path / "cnn" / "2").mkdir()
    (tmp_path / "cnn" / "2" / "model.onnx").write_bytes(b"no network")

    async def scenario(repository: Repository, reloader: Reloader) -> None:
        failed = repository.model_versions("cnn")[0]
        await reloader.refresh()
        assert repository.model_versions("cnn")[0] is failed
        assert await reloader.change(load="cnn", timeout_s=1)
        assert repository.model_versions("cnn")[0] is not failed

    running(tmp_path, scenario)


def test_an_unloaded_model_stays_so_until_it_is_loaded(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    write_linear_model(tmp_path / "dense" / "1")

    async def scenario(repository: Repository, reloader: Reloader) -> None:
        assert await reloader.change(unload="dense", timeout_s=1)
        await reloader.refresh()
        with pytest.raises(NotReady):
            repository.find("dense")
        assert repository.required_models == ("cnn",)
        assert await reloader.change(load="dense", timeout_s=1)
        assert repository.find("dense").state == "READY"

    running(tmp_path, scenario)


def test_a_folder_that_cannot_be_read_takes_nothing_away(tmp_path: Path) -> None:
    root = tmp_path / "models"
    write_linear_model(root / "cnn" / "1")

    async def scenario(repository: Repository, reloader: Reloader) -> None:
        root.rename(tmp_path / "away")
        with pytest.raises(OSError, match="models"):
            await reloader.refresh()
        assert repository.has_ready("cnn")

    running(root, scenario)


def test_a_version_may_be_a_link_and_the_whole_folder_be_replaced_by_a_rename(tmp_path: Path) -> None:
    root = tmp_path / "models"
    for seed in (1, 2):
        write_linear_model(tmp_path / "store" / str(seed), seed=seed)
    (root / "cnn").mkdir(parents=True)
    (root / "cnn" / "1").symlink_to(tmp_path / "store" / "1")

    async def scenario(repository: Repository, reloader: Reloader) -> None:
        first = repository.find("cnn")
        (root / "cnn" / ".next").symlink_to(tmp_path / "store" / "2")
        (root / "cnn" / ".next").rename(root / "cnn" / "1")
        await reloader.refresh()
        assert repository.find("cnn").sha256 != first.sha256
        write_linear_model(tmp_path / "next" / "cnn" / "7")
        root.rename(tmp_path / "before")
        (tmp_path / "next").rename(root)
        await reloader.refresh()
        assert states(repository) == {"7": "READY"}

    running(root, scenario)


def test_who_is_in_gets_an_answer_from_the_version_that_was_replaced(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1", seed=1)

    async def scenario(repository: Repository, _: Reloader) -> None:
        old = repository.find("cnn")
        write_linear_model(tmp_path / "cnn" / "1", seed=2)
        models = repository.prepare()
        waiting = [asyncio.ensure_future(old.infer(IMAGE, 10.0)) for _ in range(20)]
        await asyncio.sleep(0)
        repository.apply(models)
        late = [asyncio.ensure_future(repository.find("cnn").infer(IMAGE, 10.0)) for _ in range(20)]
        before, after = await asyncio.gather(*waiting), await asyncio.gather(*late)
        assert len({answer.outputs[1].tobytes() for answer in before}) == 1
        assert {answer.outputs[1].tobytes() for answer in before}.isdisjoint(
            {answer.outputs[1].tobytes() for answer in after}
        )

    running(tmp_path, scenario)


def test_a_version_that_was_replaced_is_gone_from_memory(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1", seed=1)

    async def scenario(repository: Repository, reloader: Reloader) -> None:
        session = weakref.ref(repository.find("cnn").session)
        write_linear_model(tmp_path / "cnn" / "1", seed=2)
        gc.disable()  # nothing is left to the collector, which rarely looks
        try:
            await reloader.refresh()
            while session() is not None:
                await asyncio.sleep(0)
        finally:
            gc.enable()

    running(tmp_path, scenario)


def test_workers_follow_the_board_and_the_one_that_asked_knows(tmp_path: Path) -> None:
    board, other = Board(tmp_path), Board(tmp_path)
    board.follow(0, ["cnn", "dense"])
    generation = other.change(unload="cnn")
    assert board.read().unloaded == {"cnn"}
    assert not other.all_follow(generation)
    assert other.answering() == {"cnn", "dense"}
    board.follow(generation, ["dense"])
    assert other.answering() == {"dense"}
    assert other.all_follow(generation)
    (tmp_path / "999999999.followed").write_text("0")  # a worker that died does not hold anybody up
    assert other.all_follow(generation)
    assert not other.change(load="cnn") <= generation
    assert not board.read().unloaded
