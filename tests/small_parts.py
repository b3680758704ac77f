"""Small settings of every head and adapter, for tests that go over all of them."""

from typing import Any

from dinotune.config.head import HEAD_TASKS

QUERIES: dict[str, Any] = {
    "channels": 32,
    "attention_heads": 4,
    "feedforward": 48,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "queries": 7,
    "slots": 20,
}
MASK_QUERIES: dict[str, Any] = {
    "channels": 32,
    "attention_heads": 4,
    "feedforward": 48,
    "decoder_layers": 2,
    "queries": 7,
}
HEADS: dict[str, dict[str, Any]] = {
    "faster_rcnn": {"channels": 16, "hidden": 32, "stride_factors": [0.5, 1], "slots": 20, "score_threshold": 0},
    "detr": QUERIES,
    "deformable_detr": {**QUERIES, "stride_factors": [0.5, 1], "denoising_queries": 5, "one_to_many_queries": 6},
    "plain_detr": {**QUERIES, "bias_hidden": 16, "one_to_many_queries": 6},
    "linear_classifier": {"dropout": 0.1, "label_smoothing": 0.1},
    "linear_segmenter": {"dropout": 0.1, "label_smoothing": 0.1},
    "mask_decoder": MASK_QUERIES,
    "instance_mask_decoder": {**MASK_QUERIES, "slots": 20},
}
DETECTORS = [kind for kind in HEADS if HEAD_TASKS[kind] == "detection"]
ADAPTERS: dict[str, dict[str, Any]] = {
    "frozen": {},
    "lora": {"rank": 2, "dropout": 0.1},
    "norm_bias": {},
    "daga": {"blocks": "all"},
    "bottleneck": {"blocks": "all"},
}
