"""Runs that must reach a score end with PASS or FAIL, and parameters that no gradient reaches are named."""

from pathlib import Path

import pytest

from dinotune import api, cli, config
from dinotune.checkpoints import read_checkpoint
from dinotune.files import write_json
from dinotune.model import KEY_BIAS
from dinotune.training.module import TrainingModule
from dinotune.training.verdict import GoalMissedError, describe_without_gradient, judge
from tests.training.small_runs import changed, metrics, run_state

SHORT = ("training.epochs=2", "training.validate_every=1")


@pytest.mark.parametrize(
    ("measured", "goal", "said"),
    [
        ({"AP": 0.2, "AP50": 0.953}, {}, "PASS: AP50 0.9530 >= 0.9"),
        ({"AP": 0.2, "AP50": 0.9}, {}, "PASS: AP50 0.9000 >= 0.9"),
        ({"AP": 0.2, "AP50": 0.953}, {"metric": "AP", "value": 0.5}, "FAIL: AP 0.2000 < 0.5; a gradient reached every"),
        ({"AP50": None}, {}, "FAIL: AP50 was never measured; "),
        (None, {}, "FAIL: AP50 was never measured; "),
    ],
)
def test_the_best_evaluation_decides(
    tmp_path: Path, measured: dict[str, float] | None, goal: dict[str, float | str], said: str
) -> None:
    if measured is not None:
        write_json(tmp_path / "metrics.json", measured)
    settings = config.Goal.model_validate(goal)
    if said.startswith("PASS"):
        assert judge(tmp_path, settings, "AP50", ["head.weight"]) == said
        return
    with pytest.raises(GoalMissedError, match=f"^{said}"):
        judge(tmp_path, settings, "AP50", [])
    with pytest.raises(GoalMissedError, match=r"; no gradient has reached 1 learning parameter so far: head.weight$"):
        judge(tmp_path, settings, "AP50", ["head.weight"])


def test_many_names_are_cut() -> None:
    said = describe_without_gradient([f"p{number}" for number in range(20)])
    assert said == "no gradient has reached 20 learning parameters so far: p0, p1, p2, p3, p4, p5, p6, p7 and 12 more"


@pytest.mark.parametrize(("value", "status"), [(0.0, 0), (1.0, 1)])
def test_overfit_ends_in_pass_or_fail(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float, status: int
) -> None:
    """Exit status 1 comes after everything is on disk; the verdict is the last line of the log."""
    run = tmp_path / "run"
    words = ["train", str(page), "overfit", "--out", str(run), *SHORT, f"training.must_reach.value={value}"]
    assert cli.run(words) == status
    printed = capsys.readouterr()
    verdict = (run / "train.log").read_text().splitlines()[-1]
    reached = f"AP50 {api.Run(run).metrics['AP50']:.4f}"
    assert verdict.startswith(f"FAIL: {reached} < 1.0; a gradient" if status else f"PASS: {reached} >= 0.0")
    assert verdict in (printed.err if status else printed.out)
    assert f"{printed.out}{printed.err}".count(verdict) == 1
    assert "Traceback" not in printed.err
    for name in ("last.ckpt", "best_AP.safetensors"):
        _, description = read_checkpoint(run / "checkpoints" / name)
        assert description.experiment.evaluation.split == "train"
        assert description.experiment.training.learning_rate == 5e-4
    assert [line["epoch"] for line in metrics(run) if line["kind"] == "epoch"] == [0, 1]


def test_parameters_without_gradient_are_named_after_the_first_epoch(
    small_experiment: config.Experiment, tmp_path: Path
) -> None:
    """A loss of weight 0 teaches its layer nothing; the FAIL at the end names the layer again."""
    overrides = ("head.weight_box=0", "training.must_reach={metric: AP, value: 1}", "data.train.limit=4")
    with pytest.raises(
        GoalMissedError, match=r"^FAIL: AP 0\.\d+ < 1\.0; no gradient has reached 2 learning"
    ) as failure:
        api.train(changed(small_experiment, *overrides), out=tmp_path / "run")
    names = [f"head.roi_heads.box_predictor.bbox_pred.{kind}" for kind in ("weight", "bias")]
    assert run_state(tmp_path / "run")["without_gradient"] == names
    said = describe_without_gradient(names)
    assert said in str(failure.value)
    log = (tmp_path / "run" / "train.log").read_text().splitlines()
    assert log.count(said) == 1
    first, second = (next(i for i, line in enumerate(log) if line.startswith(f"epoch {n}/2")) for n in (1, 2))
    assert first < log.index(said) < second


def test_stages_are_watched_from_their_epoch_on(
    small_experiment: config.Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing struck out, the head is on the list from the start and the stage's block from the second epoch."""
    stages = "backbone.trainable=[{blocks: 1, from_epoch: 1}]"
    experiment = changed(small_experiment, stages, "data.train.limit=4")
    run = api.train(experiment, out=tmp_path / "run").folder
    assert run_state(run)["without_gradient"] == []
    assert "no gradient" not in (run / "train.log").read_text()
    monkeypatch.setattr(TrainingModule, "on_before_optimizer_step", lambda *_: None)
    blind = api.train(experiment, out=tmp_path / "blind").folder
    names = run_state(blind)["without_gradient"]
    head = [name for name in names if name.startswith("head.")]
    assert names[: len(head)] == head
    assert {name.split(".")[3] for name in names[len(head) :] if ".blocks." in name} == {"1"}
    said = [line for line in (blind / "train.log").read_text().splitlines() if line.startswith("no gradient")]
    assert said == [describe_without_gradient(found) for found in (head, names)]


@pytest.mark.parametrize(
    ("name", "exempt"),
    [
        ("backbone.encoder.blocks.0.attn.k_proj.bias", True),
        ("layer.attention.key.bias", True),
        ("blocks.0.attn.k_bias", True),
        ("blocks.0.attn.q_bias", False),
        ("blocks.0.attn.qkv.bias", False),
        ("neck.bias", False),
        ("blocks.0.attn.k_proj.weight", False),
    ],
)
def test_key_biases_are_exempt(name: str, exempt: bool) -> None:
    assert bool(KEY_BIAS.search(name)) is exempt
