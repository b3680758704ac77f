"""The linear classifier: what it reads, and its loss against torch's and by hand."""

import pytest
import torch

from dinotune import config
from dinotune.build import build_model
from dinotune.config.loading import load_experiment
from dinotune.data.records import LabelSet
from dinotune.errors import SettingsError
from dinotune.heads.linear_classifier import LinearClassifierHead
from dinotune.types import Targets
from tests.heads.small import WIDTH, make_features

LABELS = LabelSet(("a", "b"), (1, 2))


def make_head(**settings: object) -> LinearClassifierHead:
    torch.manual_seed(0)
    return LinearClassifierHead(config.LinearClassifier.model_validate(settings), (WIDTH,), (16,), classes=5).eval()


def targets(*classes: int) -> Targets:
    nothing = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    return Targets((nothing[0],) * len(classes), (nothing[1],) * len(classes), torch.tensor(classes))


@pytest.mark.parametrize(("pooling", "reads"), [("cls", 1), ("patches", 1), ("cls_and_patches", 2)])
def test_it_reads_the_cls_token_and_the_mean_of_the_patches(pooling: str, reads: int) -> None:
    head, features = make_head(pooling=pooling), make_features(2)
    parts = {"cls": [features.cls], "patches": [features.maps[-1].flatten(2).mean(-1)]}
    expected = torch.cat(parts.get(pooling) or [*parts["cls"], *parts["patches"]], dim=1)
    torch.testing.assert_close(head.pooled(features), expected)
    assert sum(p.numel() for p in head.parameters()) == reads * WIDTH * 5 + 5


def test_it_starts_like_the_official_one() -> None:
    weight = LinearClassifierHead(config.LinearClassifier(), (384,), (16,), classes=1000).classify.weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothing_spreads_the_target_evenly(smoothing: float) -> None:
    head, features = make_head(label_smoothing=smoothing), make_features(3)
    with torch.no_grad():
        logs = head(features).log_softmax(1)
        aim = torch.full((3, 5), smoothing / 5)
        aim[torch.arange(3), torch.tensor([4, 0, 2])] += 1 - smoothing
        assert head.loss(features, targets(4, 0, 2)).total.item() == pytest.approx(-(aim * logs).sum(1).mean().item())


def test_dropout_acts_while_training_only() -> None:
    head, features = make_head(dropout=0.5), make_features(2)
    with torch.no_grad():
        assert torch.equal(head(features), head(features))
        head.train()
        assert not torch.equal(head(features), head(features))


@pytest.mark.parametrize("kind", ["daga", "bottleneck"])
def test_an_adapter_that_the_cls_token_never_sees_is_refused(kind: str) -> None:
    words = ["backbone=tiny-dinov3", f"adapter.kind={kind}", "head=linear_classifier", "head.pooling=cls"]
    experiment = load_experiment(config.Experiment(), (), [*words, "adapter.blocks=[1,3]"], {}).experiment
    with pytest.raises(
        SettingsError, match=r"adapter.blocks: 3 is the last block, .* leave 3 out, or use head.pooling"
    ):
        build_model(experiment, LABELS)
    for more in (["adapter.blocks=[1]"], ["head.pooling=cls_and_patches"], ["backbone=tiny-dinov3", "adapter=lora"]):
        build_model(load_experiment(experiment, (), more, {}).experiment, LABELS)
