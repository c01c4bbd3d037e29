"""A model repository somewhere else (`s3://`, `gs://`, `https://`), copied into a folder here that is then served.

A version appears in the folder whole, by one rename of a link, once every file of it was fetched and checked. While the
source cannot be reached, what was copied before is served on. Needs the extra `remote`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from service.errors import StartupError

FILE = re.compile(r"(?P<version>(?P<model>[^/.][^/]*)/\d+)/[^/.][^/]*(?:/[^/.][^/]*)*")
LEFT_OUT = (".keras",)  # for training, and large
TELLING = (
    "size",
    "ETag",
    "etag",
    "md5Hash",
    "LastModified",
    "mtime",
    "created",
)  # when a file changes, one of these does
Files = dict[str, tuple[dict[str, str], str]]  # by path: what the source tells of a file, and where it is
Listing = dict[str, Files]  # by version
log = structlog.stdlib.get_logger(__name__)


class _Copied(msgspec.Struct):
    """What the source told of a file when it was copied, and the sha256 of the copy."""

    told: dict[str, str]
    sha256: str


class Mirror:
    """Copies what is at `address` into `folder`; several processes may, one after the other."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.folder = folder
        self._checked = False

    def fetch(self, max_age_s: float = 0.0) -> None:
        """Bring the folder in step with the source, unless some process did within `max_age_s` seconds.

        Raises:
            StartupError: the packages for such an address are not installed.
            OSError: the source cannot be read, or the folder not written. What was copied before is still there.
        """
        with self._alone():
            fetched = self.folder / ".fetched"
            if fetched.exists() and time.time() - fetched.stat().st_mtime < max_age_s:
                return
            try:
                filesystem, root = _open(self.address)
                remote = _listing(filesystem, root)
                self._follow(filesystem, remote)
            except StartupError:
                raise
            except Exception as error:  # each kind of source has its own
                raise OSError(f"{self.address} cannot be read: {error}") from error
            fetched.touch()

    def _follow(self, filesystem: Any, remote: Listing) -> None:
        copied = self._copied()
        for version in sorted(remote.keys() | copied.keys()):
            files = remote.get(version, {})
            told = {path: told for path, (told, _) in files.items()}
            if told == {path: one.told for path, one in copied.get(version, {}).items()}:
                continue
            if files:
                copied[version] = self._copy(filesystem, version, files)
            else:
                self._replace(version, None)
                del copied[version]
            self._manifest.write_bytes(msgspec.json.encode(copied))

    @property
    def _manifest(self) -> Path:
        return self.folder / ".copied.json"

    def _copied(self) -> dict[str, dict[str, _Copied]]:
        """What was copied before, by version and file; at the first look but what is not any more as it was copied."""
        if not self._manifest.exists():
            return {}
        if not self._checked:
            self._sweep()
        told = msgspec.json.decode(self._manifest.read_bytes(), type=dict[str, dict[str, _Copied]])
        whole = told if self._checked else {version: files for version, files in told.items() if self._is_whole(files)}
        self._checked = True
        return whole

    def _sweep(self) -> None:
        """Remove what a process left that was killed while it copied."""
        linked = {version.resolve() for version in self.folder.glob("*/*") if version.is_symlink()}
        for content in set(self.folder.glob(".content-*")) - {self.folder / path.name for path in linked}:
            if content.is_symlink():
                content.unlink()
            else:
                shutil.rmtree(content)

    def _is_whole(self, files: dict[str, _Copied]) -> bool:
        try:
            return all(_sha256(self.folder / path) == one.sha256 for path, one in files.items())
        except OSError:
            return False

    def _copy(self, filesystem: Any, version: str, files: Files) -> dict[str, _Copied]:
        copied: dict[str, _Copied] = {}
        content = Path(tempfile.mkdtemp(prefix=".content-", dir=self.folder))
        try:
            for path, (told, where) in files.items():
                local = content / Path(path).relative_to(version)
                local.parent.mkdir(parents=True, exist_ok=True)
                filesystem.get_file(where, str(local))
                _check_size(local, told.get("size"), where)
                copied[path] = _Copied(told, _sha256(local))
        except BaseException:
            shutil.rmtree(content)
            raise
        self._replace(version, content)
        log.info("copied", version=version, source=self.address, files=len(copied))
        return copied

    def _replace(self, version: str, content: Path | None) -> None:
        """Let the version's link lead to `content`, in one step, or nowhere."""
        there = self.folder / version
        before = there.resolve()
        if content is None:
            there.unlink(missing_ok=True)
        else:
            there.parent.mkdir(exist_ok=True)
            link = content.with_suffix(".link")
            link.symlink_to(Path("..") / content.name)
            link.replace(there)
        if before != there and before.is_dir():
            shutil.rmtree(before)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.folder.stat().st_uid != os.getuid():
            raise StartupError(f"{self.folder} belongs to somebody else. Set DIGITS_MIRROR to a folder of your own.")
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def local_folder(repository: Path | str, mirrors: Path | None) -> Path:
    """The folder of a repository: itself, or where an address is copied to, below `mirrors` or the temporary folder."""
    if isinstance(repository, Path):
        return repository
    name = hashlib.sha256(repository.encode()).hexdigest()[:16]
    return (mirrors or Path(tempfile.gettempdir()) / f"digit-service-{os.getuid()}") / name


def _open(address: str) -> tuple[Any, str]:
    try:
        import fsspec

        filesystem, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise StartupError(
            f"DIGITS_MODEL_REPOSITORY is {address}, and {error}. Run: pip install 'digit-service[remote]'"
        ) from None
    except ValueError as error:
        raise StartupError(f"DIGITS_MODEL_REPOSITORY is {address}: {error}") from None
    filesystem.invalidate_cache()
    return filesystem, root.rstrip("/")


def _listing(filesystem: Any, root: str) -> Listing:
    found: Listing = {}
    # What cannot be listed is an error, not gone: else a web server that is down would take all its models away.
    filesystem.ls(root, detail=False)
    walks = not {"s3", "gs"} & {*filesystem.protocol}  # those two list everything at once
    listed = filesystem.find(root, detail=True, **({"on_error": "raise"} if walks else {}))
    for where, info in listed.items():
        path = where.removeprefix(root).lstrip("/")
        if (match := FILE.fullmatch(path)) is None or path.endswith(LEFT_OUT):
            continue
        if not any(info.get(key) for key in TELLING[1:]):
            info = filesystem.info(where)  # noqa: PLW2901 - a web server's index tells no more than names
        told = {key: str(info[key]) for key in TELLING if info.get(key) is not None}
        found.setdefault(match["version"], {})[path] = (told, where)
    return {version: files for version, files in found.items() if f"{version}/model.onnx" in files}


def _check_size(local: Path, told: str | None, where: str) -> None:
    size = str(local.stat().st_size)
    if told not in (None, size):
        raise OSError(f"{where} has {told} bytes, and {size} came")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
