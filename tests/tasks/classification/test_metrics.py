"""Accuracies against torchmetrics on random answers, and in the cases where nothing can be measured."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from dinotune.data.records import LabelSet
from dinotune.tasks.classification.best_classes import BestClasses
from dinotune.tasks.classification.metrics import measure
from dinotune.tasks.confusion import confusion
from dinotune.types import ClassScores


def labels(classes: int) -> LabelSet:
    return LabelSet(tuple(f"c{n}" for n in range(classes)), tuple(range(classes)))


@pytest.mark.parametrize(("classes", "pictures"), [(10, 400), (6, 3), (7, 50)])
def test_accuracies_are_those_of_torchmetrics(classes: int, pictures: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    scores = torch.rand(pictures, classes, generator=generator).softmax(1)
    truth = torch.randint(0, classes, (pictures,), generator=generator)
    best = BestClasses.from_scores(ClassScores(scores), range(pictures))
    found = measure(truth.numpy(), best.labels, labels(classes))
    for name, top in (("top1", 1), ("top5", 5)):
        expected = multiclass_accuracy(scores, truth, classes, average="micro", top_k=top)
        assert found[name] == pytest.approx(expected.item()), name
    present = truth.unique()
    per_class = multiclass_accuracy(scores, truth, classes, average="none")
    assert found["mean_class_accuracy"] == pytest.approx(per_class[present].mean().item())
    for label in present.tolist():
        assert found.per_class[f"c{label}"]["accuracy"] == pytest.approx(per_class[label].item())
    matrix = multiclass_confusion_matrix(scores, truth, classes)
    assert np.array_equal(confusion(truth.numpy(), best.labels[:, 0], classes), matrix.numpy())


def test_the_truth_scores_one() -> None:
    truth = np.array([3, 1, 0, 2, 5, 4, 4])
    scores = ClassScores(torch.eye(6)[torch.from_numpy(truth)])
    found = measure(truth, BestClasses.from_scores(scores, range(7)).labels, labels(6))
    assert found.numbers == {"top1": 1.0, "top5": 1.0, "mean_class_accuracy": 1.0}
    assert found.per_class["c4"] == {"pictures": 2, "accuracy": 1.0, "answers": 2}


def test_five_classes_have_no_top5_and_no_picture_no_accuracy() -> None:
    scores = ClassScores(torch.rand(4, 5))
    assert measure(np.zeros(4, np.int64), BestClasses.from_scores(scores, range(4)).labels, labels(5))["top5"] is None
    nothing = measure(np.empty(0, np.int64), BestClasses.concatenate([], 6).labels, labels(6))
    assert set(nothing.numbers.values()) == {None}
    assert nothing.notes == ("there are no pictures, so nothing can be measured",)


def test_rows_are_found_by_picture_in_any_order() -> None:
    best = BestClasses.from_scores(ClassScores(torch.eye(4)), [40, 10, 30, 20])
    assert best.of(np.array([10, 40])).labels[:, 0].tolist() == [1, 0]
