"""DETR: equal to transformers' encoder and decoder with the same weights, and every query for itself."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import DetrConfig
from transformers.models.detr.modeling_detr import DetrDecoder, DetrEncoder, DetrSinePositionEmbedding

from dinotune import config
from dinotune.heads.detr import DetrHead
from dinotune.heads.positions import sine_positions
from dinotune.types import Features, Targets
from tests.heads.small import QUERY_HEAD, WIDTH, make_features, make_targets, one

SMALL = QUERY_HEAD | {"encoder_layers": 2, "decoder_layers": 3}


def make_head(**settings: object) -> DetrHead:
    torch.manual_seed(0)
    return DetrHead(config.Detr.model_validate(SMALL | settings), (WIDTH,), (16,), classes=3).eval()


def put(ours: nn.Module, theirs: nn.Module, names: dict[str, str]) -> None:
    """Copy our layer's weights into theirs; names go from our module to theirs."""
    for name, other in names.items():
        source, target = ours.get_submodule(name), theirs.get_submodule(other)
        if isinstance(source, nn.MultiheadAttention):
            parts = zip(source.in_proj_weight.chunk(3), source.in_proj_bias.chunk(3), strict=True)
            for letter, (weight, bias) in zip("qkv", parts, strict=True):
                target.get_submodule(f"{letter}_proj").load_state_dict({"weight": weight, "bias": bias})
            target.get_submodule("o_proj").load_state_dict(source.out_proj.state_dict())
        else:
            target.load_state_dict(source.state_dict())


FEEDFORWARD = {
    "feedforward.layers.0": "mlp.fc1",
    "feedforward.layers.3": "mlp.fc2",
    "feedforward.norm": "final_layer_norm",
}
ENCODER = {"attention.attend": "self_attn", "attention.norm": "self_attn_layer_norm", **FEEDFORWARD}
DECODER = {
    "self_attention.attend": "self_attn",
    "self_attention.norm": "self_attn_layer_norm",
    "cross_attention.attend": "encoder_attn",
    "cross_attention.norm": "encoder_attn_layer_norm",
    **FEEDFORWARD,
}


def reference(head: DetrHead, features: Features) -> Tensor:
    """What transformers' DETR answers after its last layer, with our weights."""
    settings = DetrConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
    )
    settings._attn_implementation = "eager"
    encoder, decoder = DetrEncoder(settings), DetrDecoder(settings)
    encoder.train(False)
    decoder.train(False)
    for ours, theirs in zip(head.encoder, encoder.layers, strict=True):
        put(ours, theirs, ENCODER)
    for ours, theirs in zip(head.decoder, decoder.layers, strict=True):
        put(ours, theirs, DECODER)
    decoder.layernorm.load_state_dict(head.decoder_norm.state_dict())
    tokens = head.project(features.maps[0])
    place = DetrSinePositionEmbedding(16, temperature=20, normalize=True)
    positions = place(tokens.shape, tokens.device, tokens.dtype).flatten(2).transpose(1, 2)
    memory = encoder(tokens.flatten(2).transpose(1, 2), spatial_position_embeddings=positions).last_hidden_state
    batch = len(memory)
    return decoder(  # type: ignore[no-any-return]
        inputs_embeds=head.query_content.expand(batch, -1, -1),
        encoder_hidden_states=memory,
        spatial_position_embeddings=positions,
        object_queries_position_embeddings=head.query_position.expand(batch, -1, -1),
    ).last_hidden_state


def test_logits_equal_transformers() -> None:
    head, features = make_head(), make_features(2)
    with torch.no_grad():
        expected = head.classify(reference(head, features))
        torch.testing.assert_close(head(features).pred_logits, expected, rtol=1e-4, atol=1e-5)
        head.query_position.add_(torch.randn_like(head.query_position))
        assert not torch.allclose(head(features).pred_logits, expected, rtol=1e-2, atol=1e-2), "positions count"


@pytest.mark.parametrize("temperature", [20, 10000])
def test_positions_equal_transformers(temperature: int) -> None:
    place = DetrSinePositionEmbedding(16, temperature=temperature, normalize=True)
    expected = place(torch.Size((1, 32, 5, 9)), "cpu", torch.float32)
    found = sine_positions((5, 9), 32, temperature, torch.device("cpu"))
    torch.testing.assert_close(found, expected[0].flatten(1).T)


def test_the_decoder_alone_reads_the_map() -> None:
    head = make_head(encoder_layers=0)
    assert len(head.encoder) == 0
    features = make_features(1)
    moved = replace(features, maps=(features.maps[0].flip(-1),))
    with torch.no_grad():
        assert not torch.allclose(head(features).pred_boxes, head(moved).pred_boxes)


def test_queries_differ_in_content_and_in_position() -> None:
    for part in ("query_content", "query_position"):
        head = make_head()
        with torch.no_grad():
            head.get_parameter(part).zero_()
            outputs = head(make_features(1))
        differences = outputs.pred_logits[0].unsqueeze(0) - outputs.pred_logits[0].unsqueeze(1)
        apart = differences.abs().amax(-1) + torch.eye(7)
        assert (apart > 1e-3).all(), f"without {part}, the other keeps queries apart"


def test_decoder_layers_are_distinct() -> None:
    head = make_head()
    names = [{id(p) for p in layer.parameters()} for layer in (*head.encoder, *head.decoder)]
    assert len(set.union(*names)) == sum(len(ids) for ids in names)


def test_a_batch_loses_what_its_images_lose_alone() -> None:
    """With focal loss, terms are sums over pictures, divided by the number of objects."""
    head, features = make_head(class_loss="focal"), make_features(3)
    boxes = [torch.rand(n, 4).sort(dim=1).values * 90 for n in (3, 1, 2)]
    labels = [torch.randint(0, 3, (len(b),)) for b in boxes]
    with torch.no_grad():
        together = head.loss(features, Targets(tuple(boxes), tuple(labels)))
        alone = [head.loss(one(features, i), Targets((boxes[i],), (labels[i],))) for i in range(3)]
    for name, value in together.terms.items():
        weighted = sum(losses.terms[name] * len(b) for losses, b in zip(alone, boxes, strict=True))
        torch.testing.assert_close(value * 6, weighted, rtol=1e-4, atol=1e-4, msg=name)


def test_every_decoder_layer_learns_from_its_own_answer() -> None:
    head = make_head().train()
    terms = head.loss(make_features(2), make_targets(2, 0)).terms
    assert set(terms) == {"loss_class", "loss_l1", "loss_giou", "loss_auxiliary"}
    without = make_head(auxiliary_losses=False)
    assert set(without.loss(make_features(2), make_targets(2, 0)).terms) == {"loss_class", "loss_l1", "loss_giou"}


@pytest.mark.parametrize("prior", [0.01, 0.05])
def test_sigmoids_start_at_their_prior(prior: float) -> None:
    """Otherwise the first evaluations flood."""
    head = make_head(class_loss={"kind": "focal", "prior": prior}, queries=50)
    with torch.no_grad():
        mean = head.class_loss.scores(head(make_features(2)).pred_logits).mean().item()
    assert prior <= mean < 2 * prior


def test_costs_that_are_not_finite_give_a_loss_that_is_not() -> None:
    """The trainer skips such a step and names its pictures; scipy alone would end the run with an assert."""
    head, features = make_head(), make_features(2)
    with torch.no_grad():
        head.query_content[3] = torch.nan
        assert torch.isnan(head.loss(features, make_targets(2, 0)).total)


def test_wrong_settings_say_what_would_work() -> None:
    with pytest.raises(ValueError, match="8 do not divide channels 36; use 6"):
        config.Detr(channels=36)
