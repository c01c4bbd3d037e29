"""Writes a version of a model, network, card and Keras file together, into the model repository by one rename.

Whoever reads the repository sees a version whole or not at all; two runs at once get two versions.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from training.errors import TrainingError

DISTRIBUTIONS = (
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "numpy",
    "onnx",
    "tf2onnx",
    "onnxruntime",
    "onnxruntime-gpu",
)


class Staging:
    """A hidden folder beside the models, on their file system; gone after the `with` block, published or not."""

    def __init__(self, models: Path, name: str) -> None:
        self._models = models
        self._name = name
        self.folder = Path()

    def __enter__(self) -> Self:
        try:
            self._models.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=f".publishing-{self._name}-", dir=self._models))
        except OSError as error:
            raise TrainingError(f"Cannot write into {self._models}: {error.strerror}") from None
        self.folder.chmod(0o755)  # mkdtemp makes it private; the service may run as somebody else
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def publish(self, card: dict[str, Any]) -> Path:
        """Complete the card with version and checksums, and move the folder to the next free version."""
        files = {path.name: describe(path) for path in sorted(self.folder.iterdir()) if path.name != "model.json"}
        parent = self._models / self._name
        version = next_version(parent)
        while True:
            text = json.dumps(card | {"version": str(version), "files": files}, indent=1, ensure_ascii=False)
            (self.folder / "model.json").write_text(text + "\n", encoding="utf-8")
            parent.mkdir(exist_ok=True)
            try:
                return self.folder.rename(parent / str(version))
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise TrainingError(f"Cannot publish {parent / str(version)}: {error.strerror}") from None
                version += 1  # another run was faster


def next_version(folder: Path) -> int:
    """One more than the highest whole number that names an entry of `folder`."""
    return 1 + max((int(entry.name) for entry in folder.glob("*") if entry.name.isdecimal()), default=0)


def describe(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def libraries() -> dict[str, str]:
    """Keras' backend, and the versions of what a network depends on, by distribution; only what is installed."""
    versions = {"python": platform.python_version(), "backend": os.environ.get("KERAS_BACKEND", "tensorflow")}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state() -> dict[str, Any]:
    """The commit this code is at and whether it was changed since; nulls outside a repository."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", "training", "pyproject.toml")
    return {"git_commit": commit, "git_dirty": None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=Path(__file__).parents[1],
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
