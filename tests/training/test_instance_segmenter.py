"""A segmenter of objects from folder to answers: trained, resumed, measured, used."""

import json
from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from dinotune import api, cli, config
from dinotune.config.loading import load_experiment
from dinotune.data.rle import decode_mask
from dinotune.errors import SettingsError
from tests.training.small_runs import assert_killed_ends_the_same

WORDS = [
    "backbone={id: tiny-dinov3, blocks: last, tiny: {width: 32, depth: 2, patch_size: 8}, trainable: all}",
    "head={channels: 32, decoder_layers: 2, attention_heads: 4, feedforward: 64, queries: 20, slots: 20}",
    "data={size: 64, workers: 0}",
    "device=cpu",
    "training={epochs: 10, batch_size: 4, learning_rate: 3e-3, warmup_steps: 5, validate_every: 5, weight_decay: 0}",
]


@pytest.fixture(scope="module")
def experiment(shapes: Path) -> config.Experiment:
    return load_experiment("instance_mask_decoder", (), [*WORDS, f"data.root={shapes}"], {}).experiment


@pytest.fixture(scope="module")
def run(experiment: config.Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api.train(experiment, out=tmp_path_factory.mktemp("instances") / "run").folder


def test_it_learns_and_is_measured_by_masks_and_boxes(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["val_loss"] for line in lines if "val_loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["mask_AP50"] > 0.05
    assert {"mask_AP", "mask_AP50", "AP", "AR100", "mask_APs"} <= metrics.keys()
    assert {"mask_AP", "AP", "threshold"} <= metrics["per_class"]["disc"].keys()
    assert (run / "checkpoints/best_mask_AP.safetensors").is_file()


def test_a_killed_run_ends_like_one_that_was_not(experiment: config.Experiment, run: Path, tmp_path: Path) -> None:
    assert_killed_ends_the_same(experiment, run, tmp_path)


def test_an_evaluation_writes_what_coco_s_own_evaluator_takes(run: Path, tmp_path: Path) -> None:
    from faster_coco_eval import COCO, COCOeval_faster

    found = api.evaluate(run, out=tmp_path / "out", pictures=1)
    truth = COCO(str(tmp_path / "out/ground_truth.json"))
    results = json.loads((tmp_path / "out/predictions.json").read_text())
    masks = [{key: value for key, value in entry.items() if key != "bbox"} for entry in results]
    evaluator = COCOeval_faster(truth, truth.loadRes(masks), "segm")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    assert found["mask_AP"] == pytest.approx(evaluator.stats[0], abs=1e-6)
    assert len(list((tmp_path / "out/pictures").glob("*.jpg"))) == 1


def test_the_command_prints_classes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["evaluate", str(run), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("mask_AP50 0.", "disc"))


def test_prediction_gives_masks_within_their_boxes(run: Path, shapes: Path) -> None:
    picture = min((shapes / "images/val").iterdir())
    found = api.load(run, device="cpu").predict(picture, threshold=0.0)
    assert isinstance(found, sv.Detections)
    assert found.mask is not None
    assert len(found) > 0
    for mask, (x1, y1, x2, y2) in zip(np.asarray(found.mask), found.xyxy.round().astype(int), strict=True):
        if mask.any():
            assert mask[y1:y2, x1:x2].sum() == mask.sum()
            assert mask[y1].any()
            assert mask[:, x2 - 1].any()


def test_prediction_writes_masks_to_correct(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["predict", str(run), str(shapes / "images/val"), "--out", str(out), "--threshold", "0.01", "--write"]
    assert cli.run([*words, "json,coco,pictures"]) == 0
    (first, *_) = json.loads((out / "predictions.json").read_text())["pictures"]
    hw = (first["height"], first["width"])
    entry = first["objects"][0]
    assert decode_mask(json.dumps(entry["mask_rle"]), hw).shape == hw
    labels = json.loads((out / "coco/annotations/instances_train.json").read_text())
    assert all("segmentation" in annotation for annotation in labels["annotations"])
    assert cli.run([*words, "json", "--tiles", "32"]) != 0
    assert "tiles: masks are not put together" in capsys.readouterr().err


def test_objects_without_masks_are_refused_by_name(experiment: config.Experiment, shared_data: Path) -> None:
    changed = load_experiment(experiment, (), [f"data.root={shared_data / 'bccd'}"], {}).experiment
    with pytest.raises(SettingsError, match="instance_mask_decoder needs a mask per object, but bccd train has boxes"):
        api.train(changed)
