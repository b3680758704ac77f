"""`dinotune probe` from folder to table and model."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from dinotune import api, cli, config, probing
from dinotune.backbones.staged import StagedBackbone
from dinotune.config.loading import load_experiment
from dinotune.errors import SettingsError
from dinotune.probing.features import PooledFeatures
from tests.class_folders import draw_class_folders

SMALL = ["backbone=tiny-dinov3", "backbone.tiny={width: 32, depth: 2}", "data.size=64", "data.workers=0", "device=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_class_folders(tmp_path_factory.mktemp("probe") / "classes", train=8, val=4)


def experiment(folder: Path, *words: str) -> config.Experiment:
    return load_experiment("linear_classifier", (), [f"data={folder}", *SMALL, *words], {}).experiment


def test_colours_are_told_apart_and_the_best_is_a_model(folder: Path, tmp_path: Path) -> None:
    found = probing.probe(experiment(folder), config.Probe(neighbours=(3, 99)), out=tmp_path / "probe")
    assert [row.method for row in found.rows] == ["k-NN"] * 2 + ["logistic regression"] * 7 + ["linear"] * 13
    assert [row.option for row in found.rows[:2]] == ["k=3", "k=24, all there are"]
    best = {
        row.method: row.numbers["top1"] or 0 for row in sorted(found.rows, key=lambda row: row.numbers["top1"] or 0)
    }
    assert min(best.values()) > 0.9
    stored = json.loads((found.folder / "probe.json").read_text())
    assert [row["numbers"] for row in stored["rows"]] == [row.numbers for row in found.rows]
    assert "**linear**" in (found.folder / "table.md").read_text()
    measured = api.evaluate(found.folder, out=tmp_path / "out")
    assert measured["top1"] == best["linear"]
    answer = api.load(found.folder, device="cpu").predict(next((folder / "val/red").iterdir()))
    assert answer.class_id[0] == 2


@pytest.mark.parametrize("views", [1, 3])
def test_every_view_of_every_picture_goes_through_the_backbone_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: int
) -> None:
    seen: list[Tensor] = []
    original = StagedBackbone.frozen_part

    def counting(self: StagedBackbone, images: Tensor) -> Any:
        seen.extend(images)
        return original(self, images)

    monkeypatch.setattr(StagedBackbone, "frozen_part", counting)
    probing.probe(experiment(folder), config.Probe(views=views, epochs=4), out=tmp_path / "probe")
    assert len(seen) == 24 * views + 12
    assert len({picture.numpy().tobytes() for picture in seen}) == len(seen), "views differ"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["head=detr", "data.resize=square"], "head.kind: a probe is for linear_classifier, not detr"),
        (["backbone.trainable=1"], "nothing in the backbone can learn; add backbone.trainable=none adapter=frozen"),
        (["adapter=lora"], "nothing in the backbone can learn"),
        (["head.dropout=0.5"], "head.dropout: classifiers that are trained at once .* use 0"),
        (["evaluation.split=train"], "evaluation.split: .* use val or test"),
    ],
)
def test_what_cannot_be_probed_is_refused(folder: Path, words: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        probing.probe(experiment(folder, *words))


def test_views_have_the_colours_of_the_augmentation(folder: Path, tmp_path: Path) -> None:
    weights = []
    for strength in (0, 1):
        words = [f"data.augmentation.photometric={strength}"]
        run = probing.probe(experiment(folder, *words), config.Probe(views=3, epochs=6), out=tmp_path / f"{strength}")
        weights.append(load_file(run.folder / "checkpoints/best_top1.safetensors")["head.classify.weight"])
    assert not weights[0].equal(weights[1])


def test_rare_classes_are_not_repeated(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[list[int]] = []
    original = PooledFeatures.__init__

    def noting(self: PooledFeatures, *columns: Tensor) -> None:
        sizes.append(columns[3].tolist())
        original(self, *columns)

    monkeypatch.setattr(PooledFeatures, "__init__", noting)
    probing.probe(experiment(folder, "data.repeat_rare=0.9"), config.Probe(views=2, epochs=1), out=tmp_path / "run")
    assert sizes == [list(range(1, 25)), list(range(1, 25)), list(range(1, 13))], "sorted, and the same in every view"


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["probe", "linear_classifier", f"data={folder}", *SMALL, "--out", str(tmp_path / "out"), "--epochs", "2"]
    assert cli.run(words) == 0
    said = capsys.readouterr().out
    assert "features of 24 pictures x 1 and of 12: " in said
    assert "learning rate 0.1" in said
    assert cli.run(words) != 0, "the folder is taken"
    assert "--overwrite" in capsys.readouterr().err
    assert cli.run([*words, "--overwrite"]) == 0
    assert cli.run(["probe", "--views", "0", "linear_classifier"]) != 0
    assert "views: 0 is wrong" in capsys.readouterr().err
