"""The repository's folder, or the copy of what is at its address: which versions are there, none of them loaded."""

from __future__ import annotations

from pathlib import Path

import structlog

from service.errors import ModelNotFound, StartupError
from service.inference.mirror import Mirror, local_folder
from service.inference.version import ModelVersion, Stamp, stamp

JUST_NOW_S = 60.0  # the supervisor has fetched, then each worker starts
log = structlog.stdlib.get_logger(__name__)


class Disk:
    """`<name>/<version>/model.onnx` below `root`, which is a folder or an address that is copied below `mirrors`."""

    def __init__(self, root: Path | str, mirrors: Path | None) -> None:
        self.folder = local_folder(root, mirrors)
        self._mirror = None if isinstance(root, Path) else Mirror(root, self.folder)

    def fetch(self, max_age_s: float = 0.0) -> None:
        """Where the repository is an address, bring the copy of it up to date. Takes long: in a thread.

        Raises:
            StartupError, OSError: see `Mirror.fetch`.
        """
        if self._mirror is not None:
            self._mirror.fetch(max_age_s)

    def fetch_first(self) -> list[ModelVersion]:
        """What there is at the start: after `fetch`, or where that fails, of what was copied before.

        Raises:
            StartupError: there is no model.
        """
        try:
            self.fetch(JUST_NOW_S)
        except OSError as error:
            if not scan(self.folder):
                raise StartupError(f"{error}. Nothing was copied from there before.") from None
            log.warning("the models' source cannot be read; what was copied before is served", error=str(error))
        found = scan(self.folder)
        if not found:
            raise StartupError(
                f"No model in {self.folder}: expected <name>/<version>/model.onnx. "
                "Set DIGITS_MODEL_REPOSITORY to a folder that has one, or run: digits train --recipe cnn"
            )
        return found

    def versions(self) -> list[ModelVersion]:
        """What there is now. Raises OSError where the folder cannot be read: that is not the same as empty."""
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder} is gone; what is loaded stays")
        return scan(self.folder)

    def check_has(self, name: str) -> None:
        """Raises `ModelNotFound` where there is no version of a model."""
        names = sorted({version.name for version in scan(self.folder)})
        if name not in names:
            raise ModelNotFound(f"No model {name!r} in {self.folder}. There are: {', '.join(names)}.")


def scan(root: Path) -> list[ModelVersion]:
    """What `root` holds: models by name, their versions (whole numbers) newest first."""
    found = [
        ModelVersion(model.name, version.name, version, _stamp(version))
        for model in _folders(root)
        for version in _readable_folders(model)
        if version.name.isascii() and version.name.isdecimal() and (version / "model.onnx").is_file()
    ]
    return sorted(found, key=lambda version: (version.name, -int(version.version)))


def _stamp(folder: Path) -> Stamp:
    try:
        return stamp(folder)
    except OSError:
        return ()


def _readable_folders(path: Path) -> list[Path]:
    """Those in `path`; none where we may not look, as into the lost+found of a volume."""
    try:
        return _folders(path)
    except PermissionError:
        return []


def _folders(path: Path) -> list[Path]:
    """Those with a name that can be told: bytes that are no UTF-8, which Python keeps as surrogates, are in no JSON."""
    if not path.is_dir():
        return []
    return [entry for entry in path.iterdir() if entry.name[0] != "." and entry.name.isprintable() and entry.is_dir()]
