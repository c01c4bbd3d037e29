import hashlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from training import publishing
from training.errors import TrainingError
from training.publishing import Staging


def publish(models, content: str = "network") -> None:
    with Staging(models, "cnn") as staging:
        (staging.folder / "model.onnx").write_text(content)
        staging.publish({"name": "cnn", "note": "żółw"})


def test_versions_are_whole_numbers_that_count_up(tmp_path):
    (tmp_path / "cnn" / "9").mkdir(parents=True)
    (tmp_path / "cnn" / "notes").mkdir()
    publish(tmp_path)
    publish(tmp_path)
    assert sorted(path.name for path in (tmp_path / "cnn").iterdir()) == ["10", "11", "9", "notes"]


def test_the_card_tells_version_and_checksums(tmp_path):
    publish(tmp_path)
    card = json.loads((tmp_path / "cnn" / "1" / "model.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(b"network").hexdigest()
    assert card == {
        "name": "cnn",
        "note": "żółw",
        "version": "1",
        "files": {"model.onnx": {"sha256": digest, "bytes": 7}},
    }


def test_a_run_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(TypeError), Staging(tmp_path, "cnn") as staging:
        staging.publish({"name": object()})  # no JSON
    assert list(tmp_path.iterdir()) == []


def test_what_is_being_written_has_a_hidden_name(tmp_path):
    with Staging(tmp_path, "cnn") as staging:
        assert staging.folder.name.startswith(".")
        assert staging.folder.parent == tmp_path


def test_many_runs_at_once_get_a_version_each_and_never_mix_files(tmp_path):
    contents = [f"network {number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: publish(tmp_path, content), contents))
    versions = sorted((tmp_path / "cnn").iterdir(), key=lambda path: int(path.name))
    assert [path.name for path in versions] == [str(number) for number in range(1, 17)]
    assert sorted((path / "model.onnx").read_text() for path in versions) == sorted(contents)
    for path in versions:
        card = json.loads((path / "model.json").read_text(encoding="utf-8"))
        assert card["version"] == path.name
        assert card["files"]["model.onnx"]["sha256"] == hashlib.sha256((path / "model.onnx").read_bytes()).hexdigest()


def test_others_may_read_what_is_published(tmp_path):
    publish(tmp_path)
    assert (tmp_path / "cnn" / "1").stat().st_mode & 0o777 == 0o755


def test_a_model_repository_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(TrainingError, match=r"Cannot write into .*models"):
        publish(tmp_path / "models")


def test_the_libraries_that_a_network_depends_on_are_named():
    versions = publishing.libraries()
    assert {"python", "keras", "numpy", "onnx", "tf2onnx"} <= versions.keys()


def test_the_commit_is_told_where_there_is_a_repository():
    state = publishing.git_state()
    inside = subprocess.run(["git", "rev-parse"], cwd=publishing.__file__.rsplit("/", 1)[0], check=False)
    assert (state["git_commit"] is not None) == (inside.returncode == 0)
