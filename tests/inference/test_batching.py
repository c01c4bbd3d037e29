"""The micro-batcher's promises. Runs are held and released by events: nothing here waits for a clock."""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from service.errors import DeadlineExceeded, NotReady, Overloaded
from service.inference.batching import InferenceFailed, MicroBatcher
from service.inference.waiting import Answer, Rows

LONG_S = 60.0


class Network:
    """Answers each row with itself and its double. While `gate` is closed, runs wait in it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.fail: Callable[[list[int]], bool] = lambda _batch: False
        self.lose_a_row = False

    def __call__(self, inputs: Rows) -> Sequence[Any]:
        (numbers,) = inputs
        self.batches.append(numbers.tolist())
        self.entered.release()
        self.gate.wait()
        if self.fail(numbers.tolist()):
            raise ValueError("broken weights")
        kept = numbers[:-1] if self.lose_a_row else numbers
        return [kept, kept * 2]


def rows(*numbers: int) -> Rows:
    return (np.array(numbers, np.int64),)


def run(
    story: Callable[[MicroBatcher, Network], Coroutine[Any, Any, None]],
    *,
    max_batch_size: int = 4,
    max_queue_size: int = 100,
    inline_below_s: float = 0.0,
) -> Network:
    """Tell a story on an event loop, with a batcher in front of a network."""
    network = Network()

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(
                network,
                executor,
                max_batch_size=max_batch_size,
                max_queue_size=max_queue_size,
                seconds_per_image=0.001,
                inline_below_s=inline_below_s,
            )
            await story(batcher, network)

    asyncio.run(main())
    return network


async def busy(batcher: MicroBatcher, network: Network) -> asyncio.Task[Any]:
    """A run that stays in the network until its gate opens."""
    network.gate.clear()
    first = asyncio.create_task(batcher.submit(rows(0), LONG_S))
    await asyncio.to_thread(network.entered.acquire)
    return first


async def queued(batcher: MicroBatcher, *batches: Rows, timeout_s: float = LONG_S) -> list[asyncio.Task[Any]]:
    """Callers that wait behind the run, in this order."""
    tasks = [asyncio.create_task(batcher.submit(batch, timeout_s)) for batch in batches]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("inline_below_s", [0.0, 1.0])
def test_an_idle_service_answers_at_once_and_alone(inline_below_s: float) -> None:
    async def story(batcher: MicroBatcher, _network: Network) -> None:
        answer = await batcher.submit(rows(7), LONG_S)
        assert [output.tolist() for output in answer.outputs] == [[7], [14]]

    assert run(story, inline_below_s=inline_below_s).batches == [[7]]


def test_a_run_that_neighbours_slowed_down_sends_no_other_to_a_thread_and_slow_ones_do() -> None:
    threads: list[threading.Thread] = []

    def run_network(inputs: Rows) -> Sequence[Any]:
        threads.append(threading.current_thread())
        return [inputs[0]]

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(
                run_network, executor, max_batch_size=4, max_queue_size=8, seconds_per_image=1e-3, inline_below_s=5e-3
            )
            batcher._speed.learn(0.1)
            await batcher.submit(rows(1), LONG_S)
            for _ in range(100):
                batcher._speed.learn(0.1)
            await batcher.submit(rows(2), LONG_S)

    asyncio.run(main())
    assert [thread is threading.main_thread() for thread in threads] == [True, False]


def test_what_queues_during_a_run_forms_the_next_batch() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)
        waiting = await queued(batcher, rows(1), rows(2), rows(3))
        network.gate.set()
        await first
        assert [(await task).outputs[1].tolist() for task in waiting] == [[2], [4], [6]]

    assert run(story).batches == [[0], [1, 2, 3]]


def test_what_arrives_in_one_turn_of_the_loop_runs_together() -> None:
    async def story(batcher: MicroBatcher, _network: Network) -> None:
        await asyncio.gather(*(batcher.submit(rows(n), LONG_S) for n in range(3)))

    assert run(story, inline_below_s=1.0).batches == [[0, 1, 2]]


def test_a_batch_never_passes_its_size_and_keeps_the_order() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)
        waiting = await queued(batcher, rows(1, 2, 3), rows(4, 5), rows(6))
        network.gate.set()
        await asyncio.gather(first, *waiting)

    assert run(story).batches == [[0], [1, 2, 3], [4, 5, 6]]


def test_a_call_larger_than_a_batch_is_spread_and_put_together_again() -> None:
    async def story(batcher: MicroBatcher, _network: Network) -> None:
        answer = await batcher.submit(rows(*range(10)), LONG_S)
        assert answer.outputs[1].tolist() == [2 * n for n in range(10)]

    assert run(story).batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_caller_that_leaves_is_dropped_and_the_others_are_answered() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)
        staying, leaving, also_staying = await queued(batcher, rows(1), rows(2), rows(3))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert batcher.statistics().queued_images == 2
        network.gate.set()
        await first
        assert (await staying).outputs[0].tolist() == [1]
        assert (await also_staying).outputs[0].tolist() == [3]

    assert run(story).batches == [[0], [1, 3]]


def test_a_caller_that_leaves_during_its_run_disturbs_nobody() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)
        (waiting,) = await queued(batcher, rows(1))
        first.cancel()
        network.gate.set()
        assert (await waiting).outputs[0].tolist() == [1]

    run(story)


def test_a_model_error_reaches_only_its_batch() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        network.fail = lambda batch: 1 in batch or 2 in batch
        first = await busy(batcher, network)
        doomed = await queued(batcher, rows(1), rows(2, 3, 4))
        saved = await queued(batcher, rows(5))
        network.gate.set()
        await first
        errors = await asyncio.gather(*doomed, return_exceptions=True)
        assert all(isinstance(error, InferenceFailed) for error in errors)
        assert errors[0] is not errors[1]
        assert "broken weights" in str(errors[0])
        assert (await saved[0]).outputs[0].tolist() == [5]

    run(story)


def test_a_caller_whose_values_break_a_run_takes_no_neighbour_along() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        network.fail = lambda batch: 1 in batch
        first = await busy(batcher, network)
        doomed, saved, after = await queued(batcher, rows(1), rows(2, 3), rows(4))
        network.gate.set()
        await first
        (error,) = await asyncio.gather(doomed, return_exceptions=True)
        assert isinstance(error, InferenceFailed)
        assert (await saved).outputs[0].tolist() == [2, 3]
        assert (await after).outputs[0].tolist() == [4]
        assert [batch for batch in network.batches[1:] if 1 not in batch] == [[2, 3], [4]]

    run(story)


def test_only_rows_of_one_shape_run_together_where_shapes_vary() -> None:
    widths: list[tuple[int, ...]] = []

    def run_network(inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        widths.append(inputs[0].shape)
        return [inputs[0].sum(axis=1)]

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(
                run_network, executor, max_batch_size=8, max_queue_size=64, inline_below_s=1.0,
                seconds_per_image=0.0, shapes_vary=True,
            )  # fmt: skip
            calls = [batcher.submit((np.ones((1, width)),), LONG_S) for width in (2, 2, 5, 5, 5, 2)]
            answers = await asyncio.gather(*calls)
            assert [answer.outputs[0].tolist() for answer in answers] == [[2], [2], [5], [5], [5], [2]]
            await batcher.close()

    asyncio.run(main())
    assert widths == [(2, 2), (3, 5), (1, 2)]


def test_a_wrong_row_count_answers_nobody() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        network.lose_a_row = True
        with pytest.raises(InferenceFailed):
            await batcher.submit(rows(1, 2), LONG_S)

    run(story)


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)
        waiting = await queued(batcher, rows(1, 2), rows(3))
        with pytest.raises(Overloaded) as refusal:
            await batcher.submit(rows(4), LONG_S)
        assert refusal.value.retry_after_s > 0
        network.gate.set()
        await asyncio.gather(first, *waiting)
        assert (await batcher.submit(rows(4), LONG_S)).outputs[0].tolist() == [4]

    run(story, max_queue_size=3)


def test_a_caller_whose_deadline_passed_costs_no_run() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)
        (late,) = await queued(batcher, rows(1), timeout_s=0.0)
        with pytest.raises(DeadlineExceeded):
            await late  # answered while the run before it is still going on
        network.gate.set()
        await first

    assert run(story).batches == [[0]]


def test_a_caller_that_fails_on_its_answer_takes_no_neighbour_along() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)

        def fail(_outcome: object) -> None:
            raise RuntimeError("a bug in what is done with the answer")

        batcher.ask(rows(1), LONG_S, fail)
        (waiting,) = await queued(batcher, rows(2))
        network.gate.set()
        await first
        assert (await waiting).outputs[0].tolist() == [2]

    assert run(story).batches == [[0], [1, 2]]


def test_who_asks_without_a_coroutine_is_told_once_or_not_at_all_after_it_left() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)
        told: list[object] = []
        waiters = [batcher.ask(rows(number), LONG_S, told.append) for number in (1, 2, 3)]
        waiters[1].leave()
        waiters[1].leave()
        assert batcher.statistics().queued_images == 2
        (late,) = [batcher.ask(rows(4), 0.0, told.append)]
        network.gate.set()
        await first
        await batcher.close()
        late.leave()
        answers = [answer.outputs[1].tolist() for answer in told if isinstance(answer, Answer)]
        assert answers == [[2], [6]]
        assert [type(error) for error in told if not isinstance(error, Answer)] == [DeadlineExceeded]

    assert run(story).batches == [[0], [1, 3]]


def test_closing_answers_who_is_in_and_refuses_who_comes() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)
        (waiting,) = await queued(batcher, rows(1))
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            await batcher.submit(rows(2), LONG_S)
        assert not closing.done()
        network.gate.set()
        await closing
        assert (await first).outputs[0].tolist() == [0]
        assert (await waiting).outputs[0].tolist() == [1]

    run(story)


def test_cancelling_the_run_fails_every_waiter_of_it() -> None:
    async def story(batcher: MicroBatcher, _network: Network) -> None:
        with ThreadPoolExecutor(1) as executor:
            held = threading.Event()
            executor.submit(held.wait)  # so that our run has not begun when it is cancelled
            batcher._executor = executor
            waiting = await queued(batcher, rows(1), rows(2))
            while not batcher.statistics().running_images:
                await asyncio.sleep(0)
            executor.shutdown(wait=False, cancel_futures=True)
            held.set()
            errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in errors] == [NotReady, NotReady]

    run(story)


def test_an_executor_that_is_gone_fails_every_waiter() -> None:
    async def story(batcher: MicroBatcher, _network: Network) -> None:
        batcher._executor.shutdown()
        with pytest.raises(NotReady):
            await batcher.submit(rows(1), LONG_S)

    run(story)


def test_a_batch_grows_as_long_as_every_turn_of_the_loop_brings_more() -> None:
    async def story(batcher: MicroBatcher, _network: Network) -> None:
        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(batcher.submit(rows(number), LONG_S)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    assert run(story, inline_below_s=1.0).batches == [[0, 1, 2]]


def test_timings_tell_queue_from_run() -> None:
    async def story(batcher: MicroBatcher, network: Network) -> None:
        first = await busy(batcher, network)
        (waiting,) = await queued(batcher, rows(1))
        network.gate.set()
        held, answer = await first, await waiting
        assert held.infer_s > 0
        assert answer.queue_s > 0
        assert batcher.statistics().images == 2

    run(story)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("inline_below_s", [0.0, 1.0])
def test_everyone_gets_their_own_row_or_their_own_error(seed: int, inline_below_s: float) -> None:
    """Hundreds of callers with distinct rows, some leaving, some batches failing, queue and deadlines in play."""
    chance = random.Random(seed)
    callers = 400

    async def story(batcher: MicroBatcher, network: Network) -> None:
        network.fail = lambda _batch: chance.random() < 0.1

        async def call(number: int) -> str:
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            mine = [number * 10 + place for place in range(chance.randrange(1, 8))]
            try:
                answer = await batcher.submit(rows(*mine), LONG_S)
            except (InferenceFailed, Overloaded) as error:
                return type(error).__name__
            assert answer.outputs[0].tolist() == mine
            assert answer.outputs[1].tolist() == [2 * value for value in mine]
            return "answered"

        tasks = [asyncio.create_task(call(number)) for number in range(callers)]
        for _ in range(10):
            await asyncio.sleep(0)
            for task in chance.sample(tasks, 8):
                task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        told = [outcome for outcome in outcomes if not isinstance(outcome, asyncio.CancelledError)]
        assert set(told) <= {"answered", "InferenceFailed", "Overloaded"}
        assert "answered" in told
        await batcher.close()
        assert (batcher.statistics().queued_images, batcher.statistics().running_images) == (0, 0)

    network = run(story, max_queue_size=300, inline_below_s=inline_below_s)
    assert all(len(batch) <= 4 for batch in network.batches)
