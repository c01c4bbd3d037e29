"""What holds while many ask at once, and for as long as they do: memory stays, and a stop loses nobody."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import png, strokes
from live import serving
from networks import write_linear_model, write_odd_networks
from protocol import binary_request, raw_tensor, tensor

CALLERS = 32
GROWTH_BYTES = 24e6


def resident_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096


def test_memory_does_not_grow_with_every_new_shape(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    write_odd_networks(tmp_path)
    with (
        serving(tmp_path, DIGITS_ACCESS_LOG="false") as live,
        httpx.Client(base_url=live.url, timeout=60) as client,
    ):

        def ask(model: str, name: str, shape: tuple[int, ...], datatype: str, dtype: type) -> None:
            raw = raw_tensor(name, list(shape), datatype, np.ones(shape, dtype).tobytes())
            body, headers = binary_request(raw, parameters={"binary_data_output": True})
            assert client.post(f"/v2/models/{model}/infer", content=body, headers=headers).status_code == 200

        def soak(offset: int) -> int:
            """Some hundred shapes, none of which another offset has; the largest are of one size."""
            for number in range(200):
                ask("ragged", "values", (1 + number % 7, 2000 - 2 * number - offset), "FP32", np.float32)
                ask("mean", "picture", (1, 1, 203 - number, 3 + offset), "FP32", np.float32)
                ask("cnn", "image", (1 + (2 * number + offset) % 200, 28, 28), "UINT8", np.uint8)
            return resident_bytes(live.process.pid)

        before = soak(0)
        after = soak(1)
    assert after - before < GROWTH_BYTES


def test_everyone_gets_their_own_rows_of_every_kind_of_network(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    write_odd_networks(tmp_path)

    def calls(seed: int) -> Iterator[tuple[str, list[tuple[str, np.ndarray, str]], np.ndarray]]:
        """A model, its inputs and the first output that they must have, all of a caller's own."""
        rng = np.random.default_rng(seed)
        for _ in range(6):
            rows = int(rng.integers(1, 6))
            values, count = rng.random((rows, 3), np.float32), rng.integers(0, 9, rows)
            yield "several", [("values", values, "FP32"), ("count", count, "INT64")], values * count[:, None]
            ragged = rng.integers(0, 9, (rows, int(rng.integers(1, 5)))).astype(np.float32)
            yield "ragged", [("values", ragged, "FP32")], ragged.sum(axis=1)
            yield "coupled", [("values", values[:, :2], "FP32")], values[:, :2] - values[:, :2].mean(axis=0)
            text = np.array([f"{seed} {index}" for index in range(rows)], object)
            yield "strings", [("text", text, "BYTES")], text
            matrix = rng.random((2, 3))
            yield "matrix", [("rows", matrix, "FP64")], matrix.T
            scalar = np.array(seed, np.float32)
            yield "scalar", [("x", scalar, "FP32")], scalar + 1

    async def caller(url: str, seed: int) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            for model, inputs, expected in calls(seed):
                body = {"inputs": [tensor(name, array, datatype) for name, array, datatype in inputs]}
                answer = await client.post(f"/v2/models/{model}/infer", json=body)
                assert answer.status_code == 200, answer.text
                first = answer.json()["outputs"][0]
                assert first["shape"] == list(expected.shape)
                if expected.dtype.kind == "O":
                    assert first["data"] == expected.tolist()
                else:
                    assert first["data"] == pytest.approx(expected.ravel().tolist(), abs=1e-5)

    async def everyone(url: str) -> None:
        await asyncio.gather(*(caller(url, seed) for seed in range(CALLERS)))

    with serving(tmp_path, DIGITS_ACCESS_LOG="false") as live:
        asyncio.run(everyone(live.url))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_under_load_loses_nobody(models: Path, workers: str) -> None:
    """Callers behave as behind a load balancer: they go on until it sees that the service is not ready any more."""
    body = png(strokes())
    answers: Counter[int] = Counter()

    async def call(url: str, busy: asyncio.Event, gone: asyncio.Event) -> None:
        while not gone.is_set():  # each over a connection of its own, as a new client's
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                for _ in range(2):
                    answer = await client.post("/predict", content=body, headers={"content-type": "image/png"})
                    answers[answer.status_code] += 1
            if answers.total() >= 10 * CALLERS:
                busy.set()

    async def story(url: str, stop: int) -> None:
        busy, gone = asyncio.Event(), asyncio.Event()
        callers = [asyncio.ensure_future(call(url, busy, gone)) for _ in range(CALLERS)]
        await busy.wait()
        live.process.send_signal(stop)
        async with httpx.AsyncClient(base_url=url, timeout=60) as probe:
            while (await probe.get("/v2/health/ready")).status_code == 200:
                assert (await probe.get("/v2/health/live")).status_code == 200
        gone.set()
        await asyncio.gather(*callers)

    with serving(models, DIGITS_WORKERS=workers, DIGITS_DRAIN_DELAY_S="15") as live:
        asyncio.run(story(live.url, signal.SIGTERM))
        code = live.process.wait(timeout=60)
        log = live.log()
    assert code == 0
    assert set(answers) == {200}
    assert "Traceback" not in log
