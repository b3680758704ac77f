"""TorchVision JSON: one list per split, classes beside it."""
