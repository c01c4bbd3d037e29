"""What the workers of one service tell each other about the repository, through a folder that they share.

A change has a number, its generation. Each worker writes down the last one that it has followed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from service.counters import lives

FOLDER_VARIABLE = "_DIGITS_BOARD"  # how the supervisor tells its workers which folder that is


class Wanted(msgspec.Struct, frozen=True):
    """What every worker should have: all that is on disk but the models that somebody unloaded."""

    generation: int = 0
    unloaded: frozenset[str] = frozenset()
    again: str | None = None  # a model whose failed versions are to be tried again


class Followed(msgspec.Struct, frozen=True):
    """How far a worker has followed, and the models that answered in it then."""

    generation: int
    answering: tuple[str, ...]


class Board:
    """The board in `folder`; without one, of this process alone."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._wanted = Wanted()
        self._followed = Followed(-1, ())

    @classmethod
    def of_the_workers(cls) -> Board:
        """The one that the supervisor made; in a process without one, its own."""
        folder = os.environ.get(FOLDER_VARIABLE)
        return cls(Path(folder) if folder else None)

    def read(self) -> Wanted:
        if self.folder is not None and (path := self.folder / "wanted").exists():
            self._wanted = msgspec.json.decode(path.read_bytes(), type=Wanted)
        return self._wanted

    def change(self, *, load: str | None = None, unload: str | None = None) -> int:
        """Ask all workers to look at the repository anew, with or without a model; the generation that this makes."""
        with self._alone():
            before = self.read()
            unloaded = (before.unloaded - {load}) | ({unload} if unload else set())
            self._wanted = Wanted(before.generation + 1, frozenset(unloaded), load)
            if self.folder is not None:
                self._write("wanted", msgspec.json.encode(self._wanted))
        return self._wanted.generation

    def follow(self, generation: int, answering: Iterable[str]) -> None:
        """Tell that this process has done what `generation` asks for, and with which models it answers."""
        followed = Followed(generation, tuple(answering))
        if self.folder is not None and followed != self._followed:
            self._write(f"{os.getpid()}.followed", msgspec.json.encode(followed))
        self._followed = followed

    def answering(self) -> set[str]:
        """The models that answer in a worker that lives."""
        return {name for followed in self._everyones() for name in followed.answering}

    def others_follow(self) -> bool:
        """Whether another worker has loaded its models and lives."""
        mine = f"{os.getpid()}.followed"
        paths = self.folder.glob("*.followed") if self.folder is not None else ()
        return any(path.name != mine and _lives(path) for path in paths)

    def all_follow(self, generation: int) -> bool:
        """Whether every worker that lives has done what `generation` asks for."""
        return all(followed.generation >= generation for followed in self._everyones())

    def _everyones(self) -> Iterator[Followed]:
        if self.folder is None:
            yield self._followed
            return
        for path in self.folder.glob("*.followed"):
            if _lives(path):
                yield msgspec.json.decode(path.read_bytes(), type=Followed)

    def _write(self, name: str, content: bytes) -> None:
        assert self.folder is not None
        written = self.folder / f".{name}.{os.getpid()}"
        written.write_bytes(content)
        written.rename(self.folder / name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self.folder is None:
            yield
            return
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _lives(path: Path) -> bool:
    if not lives(int(path.stem)):
        path.unlink(missing_ok=True)
        return False
    return True
