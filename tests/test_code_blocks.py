"""Every code block of the documentation that can be run is run, and every JSON in it is JSON."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_blocks import Block, code_blocks, run_block
from live import ROOT, Live, serving

# tests/clients has tritonclient, whose dependencies clash with ours; tests/training runs the tutorial, which trains.
ELSEWHERE = ("tritonclient", "my-models")
RUNNABLE = [block for block in code_blocks("python", "bash") if not any(name in block.text for name in ELSEWHERE)]


@pytest.fixture(scope="module")
def service() -> Iterator[Live]:
    with serving(ROOT / "models") as running:
        yield running


def test_there_are_blocks_to_run() -> None:
    assert len(RUNNABLE) >= 8
    assert {block.document.name for block in RUNNABLE} >= {"README.md", "how-to.md", "tutorial.md", "api.md"}


@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_a_code_block_runs(block: Block, tmp_path: Path, service: Live) -> None:
    printed = run_block(block, tmp_path, service.url.removeprefix("http://"))
    if '["digit"]' in block.text and "service/examples" in block.text:
        assert "7" in printed


@pytest.mark.parametrize("block", code_blocks("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)
