"""Versions come and go on disk while callers ask: nobody is lost, and each answer is its version's own."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import strokes
from live import Live, serving
from networks import write_linear_model, write_model_with_weights_apart
from protocol import tensor

from service.inference.repository import Repository

CALLERS = 32
SWAPS = 20
PIXELS = strokes()
BODY = {"pixels": PIXELS.tolist()}
V2_BODY = {"inputs": [tensor("image", PIXELS[None], "UINT8")], "outputs": [{"name": "probabilities"}]}


def publish(root: Path, version: int) -> None:
    """A version appears at once, as `digits train` publishes it."""
    staging = root / f".publishing-{version}"
    write_linear_model(staging, seed=version)
    staging.rename(root / "cnn" / str(version))


def answers_of_every_version(root: Path) -> dict[str, list[float]]:
    """What each version on disk says of the one picture that all callers send."""
    everything = Repository(root, device="cpu", threads=1, default_model="cnn")
    everything.load()
    return {version.version: version.run((PIXELS[None],))[-1][0].tolist() for version in everything.versions()}


def test_twenty_swaps_under_32_callers_lose_and_fail_nothing(tmp_path: Path) -> None:
    (tmp_path / "cnn").mkdir()
    publish(tmp_path, 1)
    seen: Counter[str] = Counter()
    given: dict[tuple[str, bool], list[float]] = {}

    async def call(client: httpx.AsyncClient, done: asyncio.Event, *, v2: bool) -> None:
        path, body = ("/v2/models/cnn/infer", V2_BODY) if v2 else ("/predict?preprocess=none", BODY)
        while not done.is_set():
            answer = await client.post(path, json=body)
            assert answer.status_code == 200, answer.text
            told = answer.json()
            version, probabilities = told["model_version"], told["outputs"][0]["data"] if v2 else told["probabilities"]
            seen[version] += 1
            assert given.setdefault((version, v2), probabilities) == probabilities

    async def swap(url: str) -> None:
        done = asyncio.Event()
        limits = httpx.Limits(max_connections=CALLERS + 1)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            callers = [asyncio.ensure_future(call(client, done, v2=bool(n % 2))) for n in range(CALLERS)]
            for version in range(1, SWAPS + 2):
                if version > 1:
                    publish(tmp_path, version)
                while str(version) not in seen:
                    assert (await client.get("/health/ready")).status_code == 200
                assert all(not caller.done() for caller in callers)
            done.set()
            await asyncio.gather(*callers)

    settings = {"DIGITS_REPOSITORY_POLL_S": "0.05", "DIGITS_VERSIONS_KEPT": "1", "DIGITS_REQUEST_TIMEOUT_S": "2"}
    with serving(tmp_path, **settings) as live:
        asyncio.run(swap(live.url))
        code, log = live.stop()
    assert code == 0
    assert set(seen) == {str(version) for version in range(1, SWAPS + 2)}
    expected = answers_of_every_version(tmp_path)
    for (version, _), probabilities in given.items():
        assert np.abs(np.subtract(probabilities, expected[version])).max() < 1e-6
    assert "Traceback" not in log


def newest_of_each_worker(live: Live, until: Callable[[set[str]], bool]) -> None:
    """Ask over new connections, which the kernel spreads over the workers, until they say what is expected."""
    asked: list[str] = []
    for _ in range(2000):
        answer = httpx.get(f"{live.url}/models/cnn")
        asked.append(next(v["version"] for v in answer.json()["versions"] if v["state"] == "READY"))
        if len(asked) >= 24 and until(set(asked[-24:])):
            return
    pytest.fail(f"the workers did not follow: {Counter(asked[-24:])}")


def test_all_workers_follow_the_disk(tmp_path: Path) -> None:
    (tmp_path / "cnn").mkdir()
    publish(tmp_path, 1)
    with serving(tmp_path, DIGITS_WORKERS="2", DIGITS_REPOSITORY_POLL_S="0.1") as live:
        publish(tmp_path, 2)
        newest_of_each_worker(live, lambda versions: versions == {"2"})
        code, _ = live.stop()
        assert code == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_hangup_signal_makes_every_worker_look(tmp_path: Path, workers: str) -> None:
    (tmp_path / "cnn").mkdir()
    publish(tmp_path, 1)
    with serving(tmp_path, DIGITS_WORKERS=workers, DIGITS_REPOSITORY_POLL_S="0") as live:
        newest_of_each_worker(live, lambda versions: versions == {"1"})
        publish(tmp_path, 2)
        os.kill(live.process.pid, signal.SIGHUP)
        newest_of_each_worker(live, lambda versions: versions == {"2"})
        code, log = live.stop()
        assert code == 0, log


def test_a_half_copied_file_becomes_a_version_once_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "cnn").mkdir()
    publish(tmp_path, 1)
    whole = write_linear_model(tmp_path / ".whole", seed=2).read_bytes()
    with serving(tmp_path, DIGITS_REPOSITORY_POLL_S="0.05") as live:

        def newest() -> dict[str, str]:
            return dict(httpx.get(f"{live.url}/models/cnn").json()["versions"][0])

        (tmp_path / "cnn" / "2").mkdir()
        with (tmp_path / "cnn" / "2" / "model.onnx").open("wb") as copy:
            copy.write(whole[:5000])
            copy.flush()
            while (told := newest())["version"] != "2":
                pass
            assert (told["state"], bool(told["reason"])) == ("FAILED", True)
            assert httpx.post(f"{live.url}/predict", json=BODY).json()["model_version"] == "1"
            assert httpx.get(f"{live.url}/health/ready").status_code == 200
            copy.write(whole[5000:])
        while newest()["state"] != "READY":
            pass
        assert httpx.post(f"{live.url}/predict", json=BODY).json()["model_version"] == "2"
        assert json.loads(httpx.get(f"{live.url}/health/ready").text)["ready"]


@pytest.mark.parametrize("location", ["model.onnx.data", "weights/table.bin"])
def test_a_file_of_weights_that_is_copied_over_harms_nobody_and_is_followed(tmp_path: Path, location: str) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    weights = write_model_with_weights_apart(tmp_path / "rows" / "1", 1.0, location)
    last = {"inputs": [tensor("row", np.array([3]), "INT64")]}
    with serving(tmp_path, DIGITS_REPOSITORY_POLL_S="0.05") as live:

        def told() -> tuple[str, float]:
            (entry,) = httpx.get(f"{live.url}/models/rows").json()["versions"]
            answer = httpx.post(f"{live.url}/v2/models/rows/infer", json=last)
            return entry["state"], answer.json()["outputs"][0]["data"][-1]

        assert told() == ("READY", 1)
        whole = weights.read_bytes()
        weights.write_bytes(b"half")  # as cp does, in place
        while (now := told())[0] == "READY":
            assert now[1] == 1
        assert told() == ("FAILED", 1)
        weights.write_bytes(np.full(len(whole) // 4, 2, np.float32).tobytes())
        while (now := told()) != ("READY", 2):
            assert now[1] in (1, 2)
        assert httpx.get(f"{live.url}/health/ready").status_code == 200
