"""The tutorial goes from a clone to a network of one's own, with the very commands that it shows."""

from pathlib import Path

import pytest
from code_blocks import code_blocks, run_block
from digit_files import drawn_dataset, write_idx

QUICK = "--limit 300 --epochs 1"  # the same way in seconds


@pytest.mark.timeout(900)  # TensorFlow starts, fits and exports: half a minute where nothing else runs
def test_the_tutorials_commands_train_and_look_at_a_network(tmp_path: Path) -> None:
    digits = write_idx(tmp_path / "digits", drawn_dataset(300, 100), suffix=".gz")
    blocks = [block for block in code_blocks("bash") if block.document.name == "tutorial.md" and "digits" in block.text]
    printed = [
        run_block(
            block._replace(text=block.text.replace("--recipe", f"--data {digits} {QUICK} --recipe")), tmp_path, ""
        )
        for block in blocks
        if "curl" not in block.text
    ]
    assert (tmp_path / "my-models/dense-512/1/model.onnx").exists()
    assert "Published" in printed[0]
    assert "dense-512" in printed[1]
    assert " of 100 read right" in printed[1]
