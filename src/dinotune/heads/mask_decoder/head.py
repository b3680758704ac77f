"""The mask decoder: queries read the tokens of a backbone through a few new transformer layers (Kerssies et al. 2025, EoMT).

The backbone stays as it is: queries and tokens meet behind it instead of in its last blocks.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.base import ClassRows, Head
from dinotune.heads.class_losses import CrossEntropyClasses, class_layer
from dinotune.heads.mask_decoder.criterion import MaskCriterion
from dinotune.heads.mask_decoder.ellipses import Ellipses
from dinotune.heads.mask_decoder.layers import DecoderLayer
from dinotune.heads.mask_decoder.outputs import MaskOutputs
from dinotune.heads.mask_decoder.pixels import finer_grid
from dinotune.heads.mask_decoder.rotation import cell_places, rotations
from dinotune.heads.mask_decoder.starts import LearnedStart, TokenStart
from dinotune.heads.mask_decoder.taps import SummedTaps
from dinotune.heads.mask_decoder.targets import MaskTargets
from dinotune.types import Features, InstanceMasks, Losses, SemanticMaps, Targets


class MaskHead(Head):
    """Subclasses say which masks the queries should find, and what is made of those that they found."""

    def __init__(
        self, settings: config.MaskHead, channels: Sequence[int], strides: Sequence[int], classes: int
    ) -> None:
        super().__init__()
        width = settings.channels
        self.settings = settings
        self.class_loss = CrossEntropyClasses(_class_settings(settings), classes)
        self.criterion = MaskCriterion(settings, self.class_loss)
        self.taps = SummedTaps(channels, strides, width)
        self.start = TokenStart(settings) if settings.query_start == "tokens" else LearnedStart(settings)
        self.decoder = nn.ModuleList(DecoderLayer(settings) for _ in range(settings.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.classify = class_layer(width, self.class_loss)
        hidden = (nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.embed = nn.Sequential(*hidden, nn.Linear(width, width))
        self.ellipses = Ellipses(width) if settings.query_start == "tokens" else None
        self.finer = finer_grid(width, self.taps.stride)

    @abstractmethod
    def mask_targets(self, targets: Targets) -> MaskTargets:
        """The masks that queries should find."""

    @abstractmethod
    def postprocess(self, outputs: MaskOutputs, image_hw: tuple[int, int]) -> SemanticMaps | InstanceMasks:
        """What the last layer says, in fp32."""

    def forward(self, features: Features) -> MaskOutputs:
        """What the queries say after every layer, and before the first one where they begin as cells."""
        tokens, grid_hw = self.taps(features)
        cells = grid_hw[0] * grid_hw[1]
        places = cell_places(grid_hw, tokens.device).expand(len(tokens), -1, -1)
        queries, query_places = self.start(tokens[:, -cells:], places, self._certainty)
        count = queries.shape[1]
        nowhere = places.new_zeros(len(tokens), tokens.shape[1] - cells, 2)
        rotation = rotations(
            torch.cat([query_places, nowhere, places], dim=1), tokens.shape[2] // self.settings.attention_heads
        )
        said = [queries] if self.settings.query_start == "tokens" else []
        sequence = torch.cat([queries, tokens], dim=1)
        for layer in self.decoder:
            sequence = layer(sequence, rotation)
            said.append(sequence[:, :count])
        answers = self.norm(torch.stack(said))
        feature_map = self.norm(sequence[:, -cells:]).transpose(1, 2).unflatten(2, grid_hw)
        embeddings, pixels = self.embed(answers), self.finer(feature_map)
        if self.ellipses is not None:
            drawn = Ellipses.of_cells(grid_hw, 2 ** len(self.finer), tokens.device).expand(len(tokens), -1, -1, -1)
            embeddings = torch.cat([embeddings, self.ellipses.of_queries(answers, query_places)], dim=-1)
            pixels = torch.cat([pixels, drawn], dim=1)
        return MaskOutputs(self.classify(answers), embeddings, pixels)

    def answer(self, features: Features, targets: Targets) -> tuple[MaskOutputs, Losses]:
        """What the queries say, and what they lose by it; in eval mode always at the same places."""
        outputs = self(features)
        device = outputs.pixels.device
        generator = None if self.training else torch.Generator(device).manual_seed(0)
        with torch.autocast(device.type, enabled=False):
            return outputs, self.criterion(outputs, self.mask_targets(targets), generator)

    def loss(self, features: Features, targets: Targets) -> Losses:
        """Losses of the matched queries."""
        return self.answer(features, targets)[1]

    def predict(self, features: Features) -> SemanticMaps | InstanceMasks:
        """What the last layer says."""
        return self.postprocess(self(features), features.image_hw)

    def evaluate(self, features: Features, targets: Targets) -> tuple[Losses, SemanticMaps | InstanceMasks]:
        """Losses and predictions of one forward pass."""
        outputs, losses = self.answer(features, targets)
        return losses, self.postprocess(outputs, features.image_hw)

    def class_rows(self) -> Mapping[str, ClassRows]:
        """One logit per class; "no object" follows."""
        return {"classify.weight": ClassRows(), "classify.bias": ClassRows()}

    def _certainty(self, queries: Float[Tensor, "batch queries channels"]) -> Float[Tensor, "batch queries"]:
        """Probability of each query's likeliest class."""
        return self.class_loss.scores(self.classify(self.norm(queries))).amax(-1)


def _class_settings(settings: config.MaskHead) -> config.CrossEntropy:
    return config.CrossEntropy(
        no_object_weight=settings.no_object_weight,
        cost_class=settings.cost_class,
        weight_class=settings.weight_class,
    )
