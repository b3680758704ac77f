"""Heads by import path: found, checked and built; what is wrong is said with place, line and remedy."""

import shutil
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from dinotune import api, cli, config
from dinotune.backbones.load import load_backbone
from dinotune.build import build_head, build_model
from dinotune.checkpoints import load_model
from dinotune.data.records import LabelSet
from dinotune.errors import SettingsError
from tests.training.small_runs import changed

HEADS = """
import torch
from torch import nn
from dinotune import Detections, Head, Losses

class MeanHead(Head):
    def __init__(self, options, channels, strides, classes):
        super().__init__()
        self.options, self.classes = options, classes
        self.layer = nn.Linear(channels[-1], options.get("outputs", 5))
        if options.get("outputs", 5) != 5:
            raise ValueError("outputs must be 5")

    def loss(self, features, targets):
        return Losses({"loss_mean": self.layer(features.cls).square().mean()})

    def predict(self, features):
        answers = self.layer(features.cls).sigmoid()
        boxes = torch.tensor([0.0, 0, 9, 9]).expand(len(answers), 1, 4)
        return Detections(boxes, answers[:, :1], torch.zeros(len(answers), 1, dtype=torch.int64))

class Unfinished(Head):
    pass

class Other:
    pass
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a package `my_lab` that was never imported."""
    folder = tmp_path / "my_lab"
    folder.mkdir()
    (folder / "heads.py").write_text(dedent(HEADS))
    (folder / "adapters.py").write_text(dedent(ADAPTERS))
    (folder / "broken.py").write_text("x = (\n")
    (folder / "needy.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(Path.cwd()))])
    for name in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


ADAPTERS = """
from torch import nn
from dinotune import Adapter
from dinotune.backbones.slots import AfterBlocks

class Scale(AfterBlocks):
    def __init__(self, width, block):
        super().__init__()
        self.blocks = (block,)
        self.scale = nn.Linear(width, width)

    def forward(self, block, patches, grid_hw, context):
        return patches + self.scale(patches)

class WholeAdapter(Adapter, Scale):
    def __init__(self, options):
        Scale.__init__(self, options["width"], 1)

    def attach(self, backbone):
        backbone.put_after(self)

class ScaleAdapter(Adapter):
    def __init__(self, options):
        self.block = options["block"]

    def attach(self, backbone):
        backbone.put_after(Scale(backbone.block_channels(self.block), self.block))
"""


def own(kind: str, **options: object) -> config.OwnHead:
    return config.OwnHead.model_validate({"kind": kind, "options": options})


@pytest.mark.usefixtures("lab")
def test_the_class_gets_options_channels_strides_and_classes() -> None:
    backbone = load_backbone("tiny-dinov3", tiny={"width": 32, "depth": 2})
    head = build_head(own("my_lab.heads:MeanHead", outputs=5), backbone, 3)
    assert type(head).__name__ == "MeanHead"
    assert vars(head)["options"] == {"outputs": 5}
    assert vars(head)["classes"] == 3
    assert head.get_parameter("layer.weight").shape == (5, 32)


@pytest.mark.usefixtures("lab")
def test_own_adapters_fill_the_places_of_the_backbone(small_experiment: config.Experiment) -> None:
    words = ["backbone.trainable=none", "adapter=my_lab.adapters:ScaleAdapter", "adapter.options.block=1"]
    model, _ = build_model(changed(small_experiment, *words), LabelSet(("a",), (1,)))
    assert [name for name, _ in model.backbone.adapter_parameters()] == [
        "after_blocks.scale.weight",
        "after_blocks.scale.bias",
    ]
    with pytest.raises(
        SettingsError, match=r"adapter.options: .*ScaleAdapter cannot be built with {}: KeyError: 'block'"
    ):
        build_model(changed(small_experiment, words[1]), LabelSet(("a",), (1,)))


@pytest.mark.usefixtures("lab")
def test_an_adapter_that_is_a_module_itself_is_saved_once(small_experiment: config.Experiment, tmp_path: Path) -> None:
    words = ["backbone.trainable=none", "adapter=my_lab.adapters:WholeAdapter", "adapter.options.width=32"]
    run = api.train(changed(small_experiment, *words, "training.epochs=1"), out=tmp_path / "run").folder
    model, _ = load_model(run / "checkpoints" / "best_loss.safetensors")
    assert [name for name in model.state_dict() if "scale" in name] == [
        "backbone.after_blocks.scale.weight",
        "backbone.after_blocks.scale.bias",
    ]


WRONG = [
    (own("my_lub.heads:MeanHead"), r"head.kind: there is no module my_lub in .* or on the Python path; start from"),
    (own("my_lab.hats:MeanHead"), r"head.kind: there is no module my_lab.hats in "),
    (own("my_lab.heads:MeinHead"), r"head.kind: my_lab.heads \(.*heads.py\) has no MeinHead; it has .*MeanHead"),
    (own("my_lab.heads:Other"), r"head.kind: my_lab.heads:Other is no subclass of dinotune.heads.base.Head; write"),
    (own("my_lab.heads:torch"), r"head.kind: my_lab.heads:torch is no subclass"),
    (own("my_lab.broken:Head"), r"head.kind: my_lab.broken cannot be imported: SyntaxError: .*broken.py, line 1\)"),
    (own("my_lab.needy:Head"), r"head.kind: my_lab.needy cannot be imported: .*not_installed_anywhere.*needy.py, line 1"),
    (own("my_lab.heads:MeanHead", outputs=6), r"head.options: .* with {'outputs': 6}: ValueError: outputs must be 5 \(.*heads.py, line 12"),
    (own("my_lab.heads:Unfinished"), r"head.options: .* TypeError: Can't instantiate abstract class Unfinished"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda value: getattr(value, "kind", ""))
@pytest.mark.usefixtures("lab")
def test_wrong_parts_say_what_would_work(settings: config.OwnHead, message: str) -> None:
    backbone = load_backbone("tiny-dinov3", tiny={"width": 32, "depth": 2})
    with pytest.raises(SettingsError, match=message):
        build_head(settings, backbone, 3)


def test_a_run_trains_and_is_loaded_where_the_module_is(
    lab: Path, small_experiment: config.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint holds import path and options; elsewhere it fails by name, and runs nothing."""
    experiment = changed(small_experiment, "head=my_lab.heads:MeanHead", "head.options.outputs=5", "training.epochs=1")
    run = api.train(experiment, out=lab / "run").folder
    model, description = load_model(run / "checkpoints" / "last.ckpt")
    assert description.experiment.head == own("my_lab.heads:MeanHead", outputs=5)
    again, _ = build_model(experiment, LabelSet(("a",), (1,)))
    assert type(again.head) is type(model.head)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(again.eval().predict(images).scores, model.predict(images).scores), "it has learned"
    for name in ("my_lab", "my_lab.heads"):
        monkeypatch.delitem(sys.modules, name)
    shutil.rmtree(lab / "my_lab")
    with pytest.raises(SettingsError, match=r"head.kind: there is no module my_lab in"):
        api.load(run)


def test_the_command_line_says_what_is_wrong(lab: Path, shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "faster_rcnn", "head=my_lab.heads:Unfinished", f"data={shapes}", "backbone=tiny-dinov3"]
    assert cli.run([*words, "--out", str(lab / "run")]) != 0
    assert "Can't instantiate abstract class Unfinished" in capsys.readouterr().err
