"""The places of adapters: where the cut lies, what an adapter is handed, and what is run how often."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.backbones.slots import AfterBlocks
from dinotune.backbones.staged import StagedBackbone
from dinotune.backbones.variants import TINY_IDS
from dinotune.errors import SettingsError
from dinotune.types import Features

VITS = [id_ for id_ in TINY_IDS if id_ != "tiny-convnext"]


class Shift(AfterBlocks):
    """Adds a number to every patch, and remembers what it was handed."""

    def __init__(self, *blocks: int, by: float = 0.0, guided: bool = False) -> None:
        super().__init__()
        self.blocks, self.needs_guidance = blocks, guided
        self.by = torch.nn.Parameter(torch.tensor(by))
        self.prepared: list[tuple[Tensor | None, tuple[int, int]]] = []
        self.seen: list[tuple[int, tuple[int, ...], tuple[int, int], Any]] = []

    def prepare(self, guidance: Tensor | None, grid_hw: tuple[int, int]) -> Any:
        """Counts the calls."""
        self.prepared.append((guidance, grid_hw))
        return len(self.prepared)

    def forward(self, block: int, patches: Tensor, grid_hw: tuple[int, int], context: Any) -> Tensor:
        """The shift."""
        self.seen.append((block, tuple(patches.shape), grid_hw, context))
        return patches + self.by


@pytest.fixture(autouse=True)
def _same_pictures() -> None:
    torch.manual_seed(0)


def tiny(id_: str, adapter: AfterBlocks | None = None, **settings: Any) -> StagedBackbone:
    shape = config.TinyShape(width=32, image_size=64)
    backbone = build_backbone(config.Backbone(id=id_, tiny=shape, **{"blocks": "quarters", **settings}))[0]
    assert isinstance(backbone, StagedBackbone)
    if adapter is not None:
        backbone.put_after(adapter)
    return backbone


def same(first: Features, second: Features) -> bool:
    ours, theirs = ((*f.maps, *f.prefix, f.cls) for f in (first, second))
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("blocks", [(0,), (3,), (1, 2), (0, 1, 2, 3)])
@pytest.mark.parametrize("id_", TINY_IDS)
def test_an_adapter_that_changes_nothing_leaves_the_features_bit_for_bit(id_: str, blocks: tuple[int, ...]) -> None:
    pictures = torch.rand(2, 3, 64, 96)
    assert same(tiny(id_, Shift(*blocks))(pictures), tiny(id_)(pictures))
    assert not same(tiny(id_, Shift(*blocks, by=1.0))(pictures), tiny(id_)(pictures))


@pytest.mark.parametrize("trainable", [None, [{"blocks": [3]}]], ids=["frozen", "block 3 learns"])
@pytest.mark.parametrize("id_", TINY_IDS)
def test_the_cut_lies_at_the_raw_output_and_the_tap_is_taken_after_the_adapter(id_: str, trainable: Any) -> None:
    pictures = torch.rand(1, 3, 64, 96)
    settings = {"tap_norm": "none", **({"trainable": trainable} if trainable else {})}
    backbone, taps = tiny(id_, Shift(1, 2, by=1.0), **settings), tiny(id_).frozen_part(pictures).taps
    cut = backbone.frozen_part(pictures)
    assert list(cut.taps) == [0]
    assert cut.sequence is not None
    assert torch.equal(cut.sequence, taps[1])
    grid = backbone.trained_part(cut).maps[1]
    assert torch.allclose(grid, tiny(id_, tap_norm="none")(pictures).maps[1] + 1)


def test_a_block_that_learns_below_the_adapter_cuts_at_its_own_input() -> None:
    pictures = torch.rand(1, 3, 64, 96)
    cut = tiny("tiny-dinov3", Shift(2, by=1.0), trainable=[{"blocks": [2]}]).frozen_part(pictures)
    assert cut.sequence is not None
    assert torch.equal(cut.sequence, tiny("tiny-dinov3").frozen_part(pictures).taps[1])


@pytest.mark.parametrize("id_", VITS)
def test_cls_and_registers_pass_by(id_: str) -> None:
    pictures = torch.rand(1, 3, 64, 96)
    before, after = (tiny(id_, adapter, blocks=[1], tap_norm="none")(pictures) for adapter in (None, Shift(1, by=1.0)))
    assert torch.equal(before.prefix[0], after.prefix[0])
    assert torch.allclose(before.maps[0] + 1, after.maps[0])


@pytest.mark.parametrize("id_", TINY_IDS)
def test_what_an_adapter_is_handed(id_: str) -> None:
    """Cells row by row with their grid; the context of one preparation per forward pass."""
    adapter = Shift(1, 3)
    backbone = tiny(id_, adapter, blocks="last")
    backbone(torch.rand(2, 3, 64, 96))
    grids = {1: (8, 12), 3: (2, 3)} if id_ == "tiny-convnext" else {1: (4, 6), 3: (4, 6)}
    assert adapter.prepared == [(None, grids[1])]
    expected = [(b, (2, h * w, backbone.block_channels(b)), (h, w), 1) for b, (h, w) in grids.items()]
    assert adapter.seen == expected


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("blocks", [(1,), (3,), (0, 3)])
@pytest.mark.parametrize("id_", VITS)
def test_guidance_is_that_of_the_backbone_without_adapter(id_: str, blocks: tuple[int, ...], learns: bool) -> None:
    """In the cut, unless blocks of the backbone learn: then it is as new as they are, and without gradient."""
    pictures = torch.rand(2, 3, 64, 96)
    adapter = Shift(*blocks, by=1.0, guided=True)
    backbone = tiny(id_, adapter, **({"trainable": [{"blocks": [2]}]} if learns else {}))
    cut = backbone.frozen_part(pictures)
    assert (cut.guidance is None) is learns
    backbone.trained_part(cut)
    guidance, _ = adapter.prepared[0]
    assert guidance is not None
    assert not guidance.requires_grad
    expected = tiny(id_, Shift(3, guided=True)).frozen_part(pictures).guidance
    assert expected is not None
    assert guidance.shape == (2, 1, 4, 6)
    assert torch.equal(guidance, expected)
    assert guidance.std() > 0


def test_guidance_is_refused_where_there_is_no_cls_token() -> None:
    with pytest.raises(SettingsError, match=r"^adapter.kind: .* ConvNeXt"):
        tiny("tiny-convnext", Shift(1, guided=True))


@pytest.mark.parametrize("id_", TINY_IDS)
def test_places_above_the_deepest_tap_are_refused(id_: str) -> None:
    with pytest.raises(SettingsError, match=r"^adapter.blocks: block 3 lies above the deepest tap"):
        tiny(id_, Shift(1, 3), blocks=[2])
    with pytest.raises(SettingsError, match=r"^adapter.blocks: block 3 lies above the deepest tap"):
        tiny(id_, blocks=[2]).put_inside({3: []})


def test_an_adapter_follows_the_mode_of_its_parent() -> None:
    adapter = Shift(1)
    backbone = tiny("tiny-dinov3", adapter)
    assert not adapter.training
    torch.nn.ModuleList([backbone]).train()
    assert adapter.training
    assert not backbone.encoder.training


@pytest.mark.parametrize("id_", TINY_IDS)
def test_linear_layers_are_where_they_are_said_to_be(id_: str) -> None:
    backbone = tiny(id_)
    words = ["fc1", "fc2"] if id_ == "tiny-convnext" else ["qkv", "proj", "fc1", "fc2"]
    for block in range(4):
        there = backbone.linear_layers(block)
        assert list(there) == words
        held = {id(module) for whole in backbone.block_modules(block) for module in whole.modules()}
        named = [backbone.get_submodule(name) for names in there.values() for name in names]
        assert all(isinstance(module, torch.nn.Linear) and id(module) in held for module in named)


def test_jitter_of_rope_is_for_blocks_in_which_something_learns() -> None:
    pictures = torch.rand(1, 3, 64, 96)
    after = tiny("tiny-dinov3", Shift(1), rope_jitter=True).train()
    assert same(after(pictures), after(pictures))
    inside = tiny("tiny-dinov3", rope_jitter=True)
    inside.put_inside({2: list(inside.block_modules(2)[0].parameters())})
    inside.train()
    assert not same(inside(pictures), inside(pictures))
