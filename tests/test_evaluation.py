"""The truth through the head's last step scores 1, on exactly the pictures run, and files agree with pycocotools."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dinotune import api, config
from dinotune.boxes import scale_boxes
from dinotune.checkpoints import load_model
from dinotune.data.batches import Batch
from dinotune.data.buckets import network_size
from dinotune.data.loader import evaluation_loader
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from dinotune.errors import SettingsError
from dinotune.evaluation import Evaluation, evaluate_model
from dinotune.heads.faster_rcnn import FasterRcnnHead
from dinotune.tasks.detection.answers import DetectionAnswers
from dinotune.tasks.detection.coco_metrics import measure
from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from dinotune.tasks.detection.edges import in_picture_pixels
from dinotune.types import Targets
from tests.training.small_runs import changed

Noise = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def exact(boxes: torch.Tensor, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return boxes, logits


def through_the_head(records: Records, data: config.Data, slots: int, noise: Noise = exact) -> DetectedBoxes:
    """Detections of a head whose proposals are the objects of each picture, surely classified and not moved."""
    settings = config.FasterRcnn(channels=8, hidden=8, stride_factors=(1,), slots=slots, nms_threshold=1.0)
    head = FasterRcnnHead(settings, (8,), (16,), len(records.labels))
    parts = []
    for record in (records[index] for index in range(len(records))):
        picture_hw = (record.height, record.width)
        network_hw = network_size(picture_hw, data, 16)
        objects = ~record.crowd
        boxes = scale_boxes(torch.from_numpy(record.boxes[objects]).float(), picture_hw, network_hw)
        # 0 is background.
        classes = torch.nn.functional.one_hot(torch.from_numpy(record.labels[objects]) + 1, len(records.labels) + 1)
        boxes, logits = noise(boxes, classes * 20.0)
        found = head.postprocess(logits, torch.zeros(len(boxes), 4 * classes.shape[1]), [boxes], network_hw)
        images = torch.empty(1, 3, *network_hw, dtype=torch.uint8)
        batch = Batch(images, Targets((), ()), (record.image_id,), ("",), (picture_hw,), (), 0, 0)
        parts.append(in_picture_pixels(found, batch))
    return DetectedBoxes.concatenate(parts)


@pytest.mark.parametrize(
    ("name", "size", "resize", "slots", "number"),
    [
        ("bccd", 320, "keep_aspect", 100, "AP"),
        ("bccd", 320, "square", 100, "AP"),
        ("coco53", 320, "keep_aspect", 100, "AP"),
        ("nuclei", 256, "keep_aspect", 300, "AP@max300"),
    ],
)
def test_the_truth_scores_one(shared_data: Path, name: str, size: int, resize: str, slots: int, number: str) -> None:
    data = config.Data.model_validate({"root": shared_data / name, "size": size, "resize": resize})
    records = read_records(data, "val", seed=0)
    assert np.diff(records.offsets).max() <= slots
    found = through_the_head(records, data, slots)
    assert len(found) == (~records.crowd).sum()
    metrics = measure(records, found, slots)
    assert metrics[number] == pytest.approx(1.0, abs=1e-9)
    if slots > 100:
        assert metrics["AP"] is not None
        assert metrics["AP"] < 0.99, "crowded pictures have more than 100 objects"
    shifted = through_the_head(records, data, slots, lambda boxes, logits: (boxes + 3, logits))
    ap = measure(records, shifted, slots)[number]
    assert ap is not None
    assert ap < 0.95, "three pixels of the network off must show"


def other_peoples_ap(truth: Path | dict[str, Any], results: Path, image_ids: list[int] | None = None) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO(str(truth))
    evaluation = COCOeval(coco, coco.loadRes(str(results)), "bbox")
    if image_ids is not None:
        evaluation.params.imgIds = image_ids
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.mark.parametrize("name", ["bccd", "coco53"])
def test_written_files_score_the_same_elsewhere(shared_data: Path, tmp_path: Path, name: str) -> None:
    """Boxes moved, classes mistaken, scores spread: AP lies in the middle; COCO's own file has the original ids."""
    data = config.Data(root=shared_data / name, size=320)
    records = read_records(data, "val", seed=0)
    generator = torch.Generator().manual_seed(0)

    def noise(boxes: torch.Tensor, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        moved = boxes + torch.randn(boxes.shape, generator=generator) * 4
        return moved, logits * 0.2 + torch.randn(logits.shape, generator=generator) * 2

    found = through_the_head(records, data, 100, noise)
    answers = DetectionAnswers(records.labels, 100)
    answers.add_rows(found)
    evaluation = Evaluation(answers.measure(records), answers, records, {"loss": float("nan")}, ())
    evaluation.write(tmp_path / "evaluation")
    ap = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["AP"]
    assert 0.05 < ap < 0.7
    results = tmp_path / "evaluation" / "predictions.json"
    assert other_peoples_ap(tmp_path / "evaluation" / "ground_truth.json", results) == pytest.approx(ap, abs=1e-6)
    if name == "coco53":
        (original,) = (shared_data / name / "annotations").glob("instances_val*.json")
        assert {entry["category_id"] for entry in json.loads(results.read_text())} != set(range(len(records.labels)))
        assert other_peoples_ap(original, results) == pytest.approx(ap, abs=1e-6)


@pytest.fixture(scope="module")
def measured(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return api.evaluate(finished_run, out=tmp_path_factory.mktemp("measured") / "run")


def test_evaluating_a_run_gives_the_numbers_of_its_training(finished_run: Path, measured: dict[str, Any]) -> None:
    stored = json.loads((finished_run / "evaluations" / "data-val-best_AP" / "metrics.json").read_text())
    folder = Path(measured.pop("folder"))
    assert measured == stored
    assert measured["AP"] > 0
    for name in ("metrics.json", "predictions.json", "ground_truth.json"):
        assert (folder / name).read_bytes() == (finished_run / "evaluations/data-val-best_AP" / name).read_bytes()


def test_files_of_a_run_score_the_same_elsewhere(finished_run: Path, shapes: Path, measured: dict[str, Any]) -> None:
    folder = finished_run / "evaluations" / "data-val-best_AP"
    for truth in (folder / "ground_truth.json", shapes / "annotations" / "instances_val.json"):
        ap = other_peoples_ap(truth, folder / "predictions.json")
        assert ap == pytest.approx(measured["AP"], abs=1e-4), truth


@pytest.mark.parametrize(
    "name", ["best_AP.safetensors", "best_loss.safetensors", "epoch_1.safetensors", "epoch_2.safetensors", "last.ckpt"]
)
def test_every_file_of_a_run_is_evaluated(finished_run: Path, tmp_path: Path, name: str) -> None:
    """Into a folder of its own, on another split than the run's, with pictures drawn."""
    run = shutil.copytree(finished_run, tmp_path / "run")
    found = api.evaluate(run / "checkpoints" / name, split="test", pictures=2)
    folder = run / "evaluations" / f"data-test-{Path(name).stem}"
    assert found["folder"] == str(folder)
    assert found["images"] == 3
    assert len(json.loads((folder / "ground_truth.json").read_text())["images"]) == 3
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["200001.jpg", "200002.jpg"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["evaluation.split=test"], {"images": 3}),
        (["evaluation.batch_size=1"], {"images": 6}),
        (["evaluation.max_detections=5"], {"images": 6, "AP@max5": ...}),
        (["data.val.limit=2"], {"images": 2}),
        (["data.size=96", "training.precision=bf16"], {"images": 6}),
    ],
)
def test_changes_of_an_evaluation(
    finished_run: Path, tmp_path: Path, measured: dict[str, Any], overrides: list[str], expected: dict[str, Any]
) -> None:
    found = api.evaluate(finished_run, overrides=overrides, out=str(tmp_path / "here"))
    assert found["folder"] == str(tmp_path / "here")
    assert found.keys() >= expected.keys()
    assert {name: found[name] for name, value in expected.items() if value is not ...}.items() <= expected.items()
    same_numbers = overrides[0].startswith(("evaluation.batch", "evaluation.max"))
    assert (found["AP"] == pytest.approx(measured["AP"], abs=1e-4)) or not same_numbers


@pytest.mark.parametrize("override", ["head.slots=300", "backbone.blocks=[0]", "training.epochs=3", "seed=1"])
def test_what_cannot_change_in_a_trained_model_is_refused(finished_run: Path, override: str) -> None:
    key = override.split("=", maxsplit=1)[0].replace(".", r"\.")
    with pytest.raises(SettingsError, match=f"evaluate: {key} cannot change in a trained model; only data"):
        api.evaluate(finished_run, overrides=[override])


def test_another_data_set_is_matched_by_class_names(finished_run: Path, shapes: Path, tmp_path: Path) -> None:
    """Other ids and another order of classes: the same AP, and predictions in the other set's ids."""
    other = shutil.copytree(shapes, tmp_path / "other")
    file = other / "annotations" / "instances_val.json"
    truth = json.loads(file.read_text())
    truth["categories"] = [{**entry, "id": 90 - 10 * entry["id"]} for entry in truth["categories"]]
    for annotation in truth["annotations"]:
        annotation["category_id"] = 90 - 10 * annotation["category_id"]
    file.write_text(json.dumps(truth))
    found = api.evaluate(finished_run, overrides=[f"data={other}"], out=tmp_path / "out")
    stored = json.loads((finished_run / "metrics.json").read_text())
    assert (found["AP"], found["per_class"]) == (stored["AP"], stored["per_class"])
    predicted = tmp_path / "out" / "predictions.json"
    assert {entry["category_id"] for entry in json.loads(predicted.read_text())} <= {80, 70, 60}
    assert other_peoples_ap(file, predicted) == pytest.approx(found["AP"], abs=1e-4)


@pytest.mark.parametrize("broken", [[2], [0, 1, 2, 3, 4]])
def test_unreadable_pictures_are_left_out_of_the_truth(
    small_experiment: config.Experiment, finished_run: Path, shapes: Path, tmp_path: Path, broken: list[int]
) -> None:
    """Recall is over the pictures run: as if the data set had no others."""
    data = changed(small_experiment, f"data={shutil.copytree(shapes, tmp_path / 'data')}").data
    records = read_records(data, "val", seed=0)
    for index in broken:
        Path(str(records.paths[index])).write_bytes(b"no picture")
    model, _ = load_model(finished_run / "checkpoints" / "best_AP.safetensors")

    def run(part: Records) -> Evaluation:
        loader = evaluation_loader(part, data, batch_size=4, multiple=model.size_multiple)
        return evaluate_model(model, part, loader, DetectionAnswers(part.labels, 100), precision="fp32")

    found = run(records)
    left = records.select(np.array([i for i in range(len(records)) if i not in broken]))
    assert found.records.image_ids.tolist() == left.image_ids.tolist()
    assert len(found.unreadable) == len(broken)
    assert all(str(records.paths[index]) in " ".join(found.unreadable) for index in broken)
    expected = run(left)
    assert found.metrics.numbers == pytest.approx(expected.metrics.numbers, abs=1e-9, nan_ok=True)
    assert found.metrics.to_json()["objects"] == expected.metrics.to_json()["objects"]


def test_no_readable_picture_at_all(
    small_experiment: config.Experiment, finished_run: Path, shapes: Path, tmp_path: Path
) -> None:
    data = changed(small_experiment, f"data={shutil.copytree(shapes, tmp_path / 'data')}").data
    for path in (data.root or tmp_path).glob("images/val/*"):
        path.write_bytes(b"no picture")
    found = api.evaluate(finished_run, overrides=[f"data={data.root}"], out=tmp_path / "out")
    assert (found["images"], found["AP"], len(found["unreadable"])) == (0, None, 6)


def test_evaluation_changes_neither_mode_nor_draws(finished_run: Path, small_experiment: config.Experiment) -> None:
    model, description = load_model(finished_run / "checkpoints" / "best_AP.safetensors")
    records = read_records(small_experiment.data, "val", seed=0, labels=description.labels)
    loader = evaluation_loader(records, small_experiment.data, batch_size=4, multiple=model.size_multiple)
    results = []
    for seed in (1, 2):
        model.train()
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        answers = DetectionAnswers(records.labels, 100)
        results.append(evaluate_model(model, records, loader, answers, precision="fp32"))
        assert torch.equal(torch.get_rng_state(), before)
        assert model.training
        assert model.head.training
    assert results[0].losses == results[1].losses
    assert results[0].metrics.to_json() == results[1].metrics.to_json()
