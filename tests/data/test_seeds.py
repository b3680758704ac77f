"""mix_seed: the same on every machine, unrelated for near inputs."""

import itertools

import pytest

from dinotune.data.seeds import mix_seed


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((0,), 2631537505891389924), ((0, 0), 5104172916443561106), ((7, 3, 1000000), 4967130229304965516)],
)
def test_seeds_are_the_same_on_every_machine(numbers: tuple[int, ...], expected: int) -> None:
    assert mix_seed(*numbers) == expected


def test_near_inputs_give_unrelated_seeds() -> None:
    seeds = [mix_seed(seed, epoch, index) for seed in range(4) for epoch in range(4) for index in range(64)]
    assert len(set(seeds)) == len(seeds)
    assert mix_seed(1, 23) != mix_seed(12, 3)
    changed = [(first ^ second).bit_count() for first, second in itertools.pairwise(seeds)]
    assert 28 < sum(changed) / len(changed) < 35, "half of 63 bits turn"
    assert all(0 <= seed < 2**63 for seed in seeds)
