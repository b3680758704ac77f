"""An adapter of your own: a depth-wise convolution over the patches after some blocks, which begins as the identity.

dinotune train faster_rcnn adapter=own_adapter:ConvAdapter adapter.options.blocks=[10,11] data=PICTURES
"""

from torch import nn

import dinotune as dt
from dinotune.backbones.slots import AfterBlocks


class Convolutions(AfterBlocks):
    def __init__(self, width, blocks):
        super().__init__()
        self.blocks = tuple(blocks)
        self.layers = nn.ModuleDict(
            {str(block): nn.Conv2d(width, width, 3, padding=1, groups=width) for block in blocks}
        )
        for parameter in self.layers.parameters():
            nn.init.zeros_(parameter)

    def forward(self, block, patches, grid_hw, context):  # noqa: ARG002
        cells = patches.mT.unflatten(2, grid_hw)  # [batch, width, h, w]
        return patches + self.layers[str(block)](cells).flatten(2).mT


class ConvAdapter(dt.Adapter):
    def __init__(self, options):
        self.blocks = options.get("blocks", [-1])

    def attach(self, backbone):
        blocks = [block % backbone.depth for block in self.blocks]
        backbone.put_after(Convolutions(backbone.width, blocks))
