"""mIoU from one matrix: equal to torchmetrics, worked by hand, 1 for the truth itself."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from dinotune.config.tasks import IGNORED
from dinotune.data.records import LabelSet
from dinotune.tasks.segmentation.metrics import measure, pixel_confusion

LABELS = LabelSet(("wall", "sky", "tree", "road", "boat"), (1, 2, 3, 4, 5))


def random_maps(seed: int, classes: int, ignored: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (37, 53)).astype(np.int16)
    answered = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape)).astype(np.int16)
    truth[rng.random(truth.shape) < ignored] = IGNORED
    return truth, answered


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shown", [5, 3])
def test_equal_to_torchmetrics(seed: int, shown: int) -> None:
    pairs = [random_maps(seed * 10 + index, shown) for index in range(4)]
    matrix = sum(pixel_confusion(truth, answered, len(LABELS)) for truth, answered in pairs)
    metrics = measure(np.asarray(matrix), len(pairs), LABELS)
    each = MulticlassJaccardIndex(num_classes=len(LABELS), ignore_index=IGNORED, average="none")
    right = MulticlassAccuracy(num_classes=len(LABELS), ignore_index=IGNORED, average="micro")
    for truth, answered in pairs:
        tensors = torch.from_numpy(answered).long(), torch.from_numpy(truth).long()
        each.update(*tensors)
        right.update(*tensors)
    theirs = each.compute()[:shown]
    assert metrics["mIoU"] == pytest.approx(theirs.mean().item(), abs=1e-6)
    assert metrics["pixel_accuracy"] == pytest.approx(right.compute().item(), abs=1e-6)
    ours = [metrics.per_class[name]["IoU"] for name in LABELS.names]
    assert ours[:shown] == pytest.approx(theirs.tolist(), abs=1e-6)
    assert ours[shown:] == [None] * (5 - shown), "classes that nothing shows have no IoU and no part in the mean"


def test_worked_by_hand() -> None:
    truth = np.array([[0, 0, 1, IGNORED]], np.int16)
    answered = np.array([[0, 1, 1, 1]], np.int16)
    metrics = measure(pixel_confusion(truth, answered, 2), 1, LabelSet(("a", "b"), (0, 1)))
    assert metrics.numbers == {"mIoU": 0.5, "pixel_accuracy": pytest.approx(2 / 3), "mean_class_accuracy": 0.75}
    assert metrics.per_class["a"] == {"IoU": 0.5, "accuracy": 0.5, "pixels": 2, "answers": 1}
    assert metrics.per_class["b"] == {"IoU": 0.5, "accuracy": 1.0, "pixels": 1, "answers": 2}


def test_one_matrix_is_not_the_mean_of_pictures() -> None:
    first = np.zeros((1, 8), np.int16), np.zeros((1, 8), np.int16)
    second = np.array([[0, 1]], np.int16), np.array([[1, 1]], np.int16)
    matrices = [pixel_confusion(*pair, 2) for pair in (first, second)]
    labels = LabelSet(("a", "b"), (0, 1))
    together = measure(matrices[0] + matrices[1], 2, labels)["mIoU"]
    assert together == pytest.approx((8 / 9 + 1 / 2) / 2)
    alone = [measure(matrix, 1, labels)["mIoU"] for matrix in matrices]
    assert together != pytest.approx(np.mean(np.array(alone, np.float64)))


def test_the_truth_scores_one() -> None:
    truth, _ = random_maps(0, 5)
    metrics = measure(pixel_confusion(truth, truth, 5), 1, LABELS)
    assert set(metrics.numbers.values()) == {1.0}


def test_where_nothing_counts_nothing_is_measured() -> None:
    ignored = np.full((3, 3), IGNORED, np.int16)
    metrics = measure(pixel_confusion(ignored, np.zeros((3, 3), np.int16), 5), 1, LABELS)
    assert set(metrics.numbers.values()) == {None}
    assert metrics.notes == ("no pixel has a class, so nothing can be measured",)
