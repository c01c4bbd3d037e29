"""The README's JavaScript, under the Node that Playwright brings."""

from pathlib import Path

from code_blocks import code_blocks, run_block
from live import Live
from playwright._impl._driver import compute_driver_executable


def test_the_readmes_javascript_reads_a_seven(service: Live, tmp_path: Path) -> None:
    node, _ = compute_driver_executable()
    (block,) = code_blocks("javascript")
    address = service.url.removeprefix("http://")
    assert run_block(block, tmp_path, address, [node, "--input-type=module", "-"]).strip() == "7"
