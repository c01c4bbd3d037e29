"""Code blocks of the documentation, and how they are run: at a service of the test instead of port 8000."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from live import ROOT

DOCUMENTED = "127.0.0.1:8000"
RUNNERS = {"python": [sys.executable, "-"], "bash": ["bash", "-euo", "pipefail"]}


class Block(NamedTuple):
    document: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def code_blocks(*languages: str) -> list[Block]:
    """The blocks of README and docs/ that say they are of these languages; `console` is for transcripts."""
    found = []
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))):
        text = document.read_text()
        blocks = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        found += [
            Block(document, text[: at.start()].count("\n") + 1, at[1], at[2]) for at in blocks if at[1] in languages
        ]
    return found


def run_block(block: Block, folder: Path, address: str, runner: list[str] | None = None) -> str:
    """What the block prints in `folder`, which stands for a clone's root; fails where it fails."""
    for name in ("service", "models"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "digits").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m service "$@"\n')
    (programs / "digits").chmod(0o755)
    done = subprocess.run(
        runner or RUNNERS[block.language],
        cwd=folder,
        input=block.text.replace(DOCUMENTED, address),
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{block}: {done.stderr}"
    return done.stdout
