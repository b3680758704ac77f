"""Work ahead stays in order and bounded; batches hold one shape and lose nothing."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dinotune.data.streams import WAITING_BATCHES, ahead, batches_of_one_shape


def test_ahead_keeps_the_order_and_works_in_threads() -> None:
    both_there = threading.Barrier(2, timeout=20)

    def work(number: int) -> int:
        both_there.wait()  # one thread alone would wait for ever
        return number * number

    with ThreadPoolExecutor(2) as pool:
        assert list(ahead(pool, work, range(6), 2)) == [0, 1, 4, 9, 16, 25]


def test_ahead_takes_no_more_than_asked_for() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, str, items(), 3)
        assert taken == []
        for expected in range(10):
            assert next(results) == str(expected)
            assert len(taken) <= expected + 4


def test_an_error_comes_at_its_turn() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, lambda number: 6 // number, [3, 2, 0, 1], 4)
        assert [next(results), next(results)] == [2, 3]
        with pytest.raises(ZeroDivisionError):
            next(results)


@pytest.mark.parametrize(
    ("words", "size", "batches"),
    [
        ("", 2, []),
        ("a b c", 2, ["a b", "c"]),
        ("a bb c dd ee f", 2, ["a c", "bb dd", "ee", "f"]),
        ("a bb ccc", 5, ["a", "bb", "ccc"]),
        ("a bb c", 1, ["a", "bb", "c"]),
    ],
)
def test_batches_of_one_shape(words: str, size: int, batches: list[str]) -> None:
    found = batches_of_one_shape(words.split(), len, size)
    assert [" ".join(batch) for batch in found] == batches


def test_few_wait_even_where_every_item_has_its_own_shape() -> None:
    given: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            given.append(number)
            yield number

    done: list[int] = []
    for batch in batches_of_one_shape(items(), lambda number: number, 3):
        done += batch
        assert len(given) - len(done) <= WAITING_BATCHES * 3
    assert Counter(done) == Counter(range(100))
