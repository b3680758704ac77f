"""What heads with box queries share: proposals, decoder, and the branches that help while training.

Branches never see each other: predictions are those of the one-to-one queries, whatever else is trained beside them.
"""

import itertools
from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import nn

from dinotune import config
from dinotune.heads.base import ClassRows
from dinotune.heads.box_codes import BoxCode, LogitBoxes
from dinotune.heads.padded_targets import PaddedTargets
from dinotune.heads.queries import QueryOutputs
from dinotune.heads.query_head import QueryHead
from dinotune.heads.set_criterion import object_count
from dinotune.heads.two_stage.branches import ONE_TO_ONE, Branch, branch_losses
from dinotune.heads.two_stage.decoder import BoxDecoder
from dinotune.heads.two_stage.denoising import Denoising, NoisedObjects
from dinotune.heads.two_stage.memory import Memory
from dinotune.heads.two_stage.proposals import ProposalLayers, Proposals
from dinotune.heads.two_stage.starts import Queries, StartingQueries
from dinotune.types import Features, Losses, Targets

BOX_POSITIONS_FACTOR = 0.1
"""Learned boxes follow at a tenth of the learning rate (Zhu et al. 2021, section 5)."""


class TwoStageHead(QueryHead):
    """Subclasses give `memory`, the cross-attention of a decoder layer, and how steps move boxes.

    `cross_attention()` makes a module called with (queries, positions, boxes_cxcywh, memory), once per layer; it
    answers with the queries after residual and norm (see `BoxDecoderLayer`).
    """

    def __init__(
        self,
        settings: config.TwoStageHead,
        classes: int,
        cross_attention: Callable[[], nn.Module],
        box_code: BoxCode | None = None,
    ) -> None:
        box_code = box_code or LogitBoxes()
        super().__init__(settings, classes, box_code)
        self.settings = settings
        self.proposals = ProposalLayers(settings, self.class_loss, box_code) if settings.two_stage else None
        self.start = StartingQueries(settings, settings.queries, group=0)
        extra = settings.one_to_many_queries
        self.one_to_many_start = StartingQueries(settings, extra, group=1) if extra else None
        self.denoising = Denoising(settings, classes) if settings.denoising_queries else None
        self.decoder = BoxDecoder(settings, self.class_loss, box_code, cross_attention)

    @abstractmethod
    def memory(self, features: Features) -> Memory:
        """What the queries read."""

    def forward(self, features: Features) -> QueryOutputs:
        """What the one-to-one queries say after every decoder layer."""
        memory = self.memory(features)
        queries = self.start(self._propose(memory), len(memory.tokens))
        outputs: QueryOutputs = self.decoder(queries.content, queries.boxes_cxcywh, memory)
        return outputs

    def answer(self, features: Features, targets: Targets) -> tuple[QueryOutputs, Losses]:
        """What the one-to-one queries say, and the losses of all branches; in eval mode, of proposals and themselves."""
        memory = self.memory(features)
        proposals = self._propose(memory)
        padded = PaddedTargets.of(targets, features.image_hw)
        noised = self.denoising(padded) if self.denoising is not None and self.training else None
        outputs = self._decode(memory, self._starts(proposals, noised, len(targets)))
        if proposals is not None:
            outputs["proposals"] = proposals.best(self.settings.queries).outputs
        with torch.autocast(memory.tokens.device.type, enabled=False):
            count = object_count(padded.count, memory.tokens.device)
            losses = branch_losses(self.criterion, self._branches(outputs, noised, padded), count)
        return outputs[ONE_TO_ONE], losses

    def learning_rate_factors(self) -> Mapping[str, float]:
        """Learned boxes learn slower."""
        names = (name for name, _ in self.named_parameters())
        return {name: BOX_POSITIONS_FACTOR for name in names if name.endswith("start.box_positions")}

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Logits of decoder and proposals, and what the noised objects hold."""
        names = ["decoder.classify.weight", "decoder.classify.bias"]
        names += ["proposals.classify.weight", "proposals.classify.bias"] if self.proposals is not None else []
        names += ["denoising.class_content"] if self.denoising is not None else []
        return dict.fromkeys(names, ClassRows())

    def _propose(self, memory: Memory) -> Proposals | None:
        return None if self.proposals is None else self.proposals(memory)

    def _starts(self, proposals: Proposals | None, noised: NoisedObjects | None, batch: int) -> dict[str, Queries]:
        starts: dict[str, Queries] = {ONE_TO_ONE: self.start(proposals, batch)}
        if self.one_to_many_start is not None and self.training:
            starts["one_to_many"] = self.one_to_many_start(proposals, batch)
        if noised is not None:
            starts["denoising"] = noised.queries
        return starts

    def _decode(self, memory: Memory, starts: Mapping[str, Queries]) -> dict[str, QueryOutputs]:
        """All branches go through the decoder together, each for itself."""
        parts = starts.values()
        groups = torch.cat([part.groups for part in parts])
        mask = groups[:, None] != groups if len(parts) > 1 else None
        content = torch.cat([part.content for part in parts], dim=1)
        boxes = torch.cat([part.boxes_cxcywh for part in parts], dim=1)
        outputs: QueryOutputs = self.decoder(content, boxes, memory, mask)
        ends = itertools.accumulate(map(len, parts))
        return {
            name: outputs.queries(slice(end - len(starts[name]), end)) for name, end in zip(starts, ends, strict=True)
        }

    def _branches(
        self, outputs: Mapping[str, QueryOutputs], noised: NoisedObjects | None, targets: PaddedTargets
    ) -> dict[str, Branch]:
        settings, taught = self.settings, {name: self.criterion.taught(said) for name, said in outputs.items()}
        branches = {name: Branch(taught[name], targets) for name in (ONE_TO_ONE, "proposals") if name in taught}
        if "one_to_many" in taught:
            repeats = settings.one_to_many_repeats
            repeated = targets.repeated(repeats)
            branches["one_to_many"] = Branch(taught["one_to_many"], repeated, settings.weight_one_to_many, repeats)
        if noised is not None:
            said = taught["denoising"]
            known = noised.matches(len(said.logits))
            branches["denoising"] = Branch(said, targets, settings.weight_denoising, noised.copies, known)
        return branches
