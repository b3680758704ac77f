"""Experiment: every setting of a run on one page."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dinotune.config.adapter import Adapter, Frozen
from dinotune.config.backbone import Backbone
from dinotune.config.base import Section
from dinotune.config.data import Data
from dinotune.config.evaluation import Evaluation
from dinotune.config.feature_cache import FeatureCache
from dinotune.config.head import Head
from dinotune.config.heads.faster_rcnn import FasterRcnn
from dinotune.config.tasks import NEEDS, SCORES, LabelKind, Scores
from dinotune.config.training import Training


class Experiment(Section):
    """Backbone, adapter, head, data and training of one run; `experiment.yaml` holds it resolved."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "experiment"
    """Name of the run folder, before date and time."""
    seed: Annotated[int, Field(strict=True, ge=0)] = 0
    """Seed of every random draw."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where to compute; `auto` takes CUDA, then MPS, then the CPU, and says which."""
    backbone: Backbone = Backbone()
    """DINO backbone."""
    adapter: Adapter = Frozen()
    """What small part learns inside the backbone."""
    head: Head = FasterRcnn()
    """From features to predictions."""
    data: Data = Data()
    """Pictures and annotations."""
    feature_cache: FeatureCache = FeatureCache()
    """Whether what the frozen part of the backbone makes of the pictures is computed once."""
    training: Training = Training()
    """Optimisation."""
    evaluation: Evaluation = Evaluation()
    """Measurement."""

    @model_validator(mode="after")
    def _whole_pictures(self) -> "Experiment":
        if self.data.resize == "middle" and self.needs != "classes":
            raise ValueError(
                f"data.resize: middle leaves objects out, and {self.head.kind} needs them; use keep_aspect or square, "
                "or a classifier as the head"
            )
        return self

    @model_validator(mode="after")
    def _goal_of_this_task(self) -> "Experiment":
        goal = self.training.must_reach
        if goal is not None and goal.metric not in (None, *self.scores.shown):
            known = " or ".join(self.scores.shown)
            raise ValueError(f"training.must_reach.metric: {self.head.kind} has no {goal.metric}; use {known}")
        return self

    @property
    def needs(self) -> LabelKind:
        """The labels that the head learns from."""
        return NEEDS[self.head.task]

    @property
    def scores(self) -> Scores:
        """The numbers that judge the head's answers."""
        return SCORES[self.head.task]
