"""The matcher finds what brute force finds, per layer and per image."""

import itertools

import pytest
import torch

from dinotune.heads.matching import CostTable, Matches, match_queries


def match(cost: torch.Tensor, present: torch.Tensor) -> Matches:
    return match_queries([CostTable(cost, present)])[0]


def cheapest(cost: torch.Tensor) -> float:
    """Least total cost of a one-to-one assignment, by trying all."""
    queries, objects = cost.shape
    small, table = min(queries, objects), cost if queries >= objects else cost.T
    return min(
        sum(table[row, column].item() for column, row in enumerate(rows))
        for rows in itertools.permutations(range(len(table)), small)
    )


@pytest.mark.parametrize(("queries", "counts"), [(5, (3, 0, 4)), (3, (5, 1, 3)), (4, (1, 1, 1))])
def test_each_layer_and_image_gets_its_cheapest_pairs(queries: int, counts: tuple[int, ...]) -> None:
    torch.manual_seed(queries)
    cost = torch.rand(2, 3, queries, max(counts))
    present = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    matches = match(cost, present)
    assert matches.finite
    for layer in range(2):
        for image, count in enumerate(counts):
            mine = (matches.layer == layer) & (matches.image == image)
            found, targets = matches.query[mine], matches.target[mine]
            assert len(found) == len(set(found.tolist())) == len(set(targets.tolist())) == min(queries, count)
            if count:
                total = cost[layer, image, found, targets].sum().item()
                assert total == pytest.approx(cheapest(cost[layer, image, :, :count]))


def test_costs_of_other_images_do_not_count() -> None:
    cost = torch.rand(1, 2, 3, 2)
    present = torch.tensor([[True, True], [True, False]])
    before = match(cost, present)
    cost[0, 1, :, 1] = torch.nan
    cost[0, 1, :, 0] += 5
    after = match(cost, present)
    assert after.finite, "what fills up the table is never read"
    first = before.image == 0
    assert torch.equal(before.query[first], after.query[after.image == 0])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_cost_that_is_not_finite_is_told(bad: float) -> None:
    cost = torch.rand(1, 1, 3, 2)
    cost[0, 0, 1, 1] = bad
    assert not match(cost, torch.tensor([[True, True]])).finite


def test_a_batch_without_objects_has_no_pairs() -> None:
    matches = match(torch.zeros(2, 3, 4, 0), torch.zeros(3, 0, dtype=torch.bool))
    assert matches.finite
    assert len(matches.layer) == 0


def test_tables_are_matched_each_by_itself() -> None:
    """They only share the way to the host."""
    torch.manual_seed(0)
    present = torch.tensor([[True, True, False], [True, False, False]])
    tables = [CostTable(torch.rand(layers, 2, queries, 3), present) for layers, queries in ((2, 5), (1, 7), (3, 2))]
    for table, together in zip(tables, match_queries(tables), strict=True):
        alone = match(table.cost, present)
        assert torch.equal(together.query, alone.query)
        assert torch.equal(together.target, alone.target)
