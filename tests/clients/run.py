"""Runs the tests of each real client in an environment of its own against one real service: `make test-clients`.

Their dependencies clash with ours and with each other's. An environment is made anew when its lock changes.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent.parent
sys.path.insert(0, str(TESTS.parent))

from live import serving
from networks import write_linear_model, write_odd_networks

CLIENTS = ("tritonclient", "kserve", "open_inference")
SETTINGS = {"DIGITS_ADMIN_KEY": "boss", "DIGITS_WORKERS": "2"}


def environment(client: str) -> Path:
    """The Python of an environment that holds exactly the client's lock."""
    lock = ROOT / "requirements" / "clients" / f"{client}.txt"
    folder = ROOT / "build" / "clients" / client
    python, made_of = folder / "bin" / "python", folder / "lock.txt"
    if not made_of.exists() or made_of.read_bytes() != lock.read_bytes():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock], check=True)
        made_of.write_bytes(lock.read_bytes())
    return python


def main() -> int:
    pythons = {client: environment(client) for client in CLIENTS}
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for version in (1, 2):
            write_linear_model(root / "cnn" / str(version), seed=version)
        write_linear_model(root / "dense" / "1", seed=3)
        write_odd_networks(root)
        with serving(root, **SETTINGS) as service:
            for client, python in pythons.items():
                done = subprocess.run(
                    [python, "-m", "pytest", TESTS / f"test_{client}.py"],
                    env={**os.environ, "SERVICE_URL": service.url},
                    check=False,
                )
                failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
