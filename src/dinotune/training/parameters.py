"""How many parameters a run trains, by part of the model."""

from dinotune.model import Model


def learning_parameters(model: Model) -> dict[str, int]:
    """Number of parameters of `backbone`, `adapter` and `head` that learn in any stage of the training."""
    return {
        "backbone": sum(p.numel() for _, group in model.backbone.stage_parameters() for _, p in group),
        "adapter": sum(p.numel() for _, p in model.backbone.adapter_parameters()),
        "head": sum(p.numel() for p in model.head.parameters() if p.requires_grad),
    }
