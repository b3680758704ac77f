"""What lies beside the weights: config.json says the shape, preprocessor_config.json the statistics.

Layouts: transformers' (`model_type`) and timm's (`architecture`). Loads no torch.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dinotune.backbones.variants import IMAGENET_MEAN, IMAGENET_STD, SATELLITE_MEAN, SATELLITE_STD
from dinotune.errors import WeightsError

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
SNAPSHOT_FILES = ("config.json", "preprocessor_config.json", "model*.safetensors", INDEX_FILE)
"""What is fetched of a hub repository."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per RGB channel for pictures in [0, 1], and where they come from."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; a WeightsError names the file where it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: holds no JSON object")
    return value


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a snapshot folder: one, or the shards that its index lists."""
    if (folder / INDEX_FILE).is_file():
        names = sorted(set(read_json(folder / INDEX_FILE).get("weight_map", {}).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing or not names:
            raise WeightsError(f"{folder / INDEX_FILE}: lists {', '.join(missing) or 'nothing'}, which is not there")
        return tuple(folder / name for name in names)
    if not (folder / WEIGHTS_FILE).is_file():
        raise WeightsError(
            f"{folder}: has no {WEIGHTS_FILE} (nor {INDEX_FILE}); "
            "give a snapshot folder (config.json and safetensors) or the weight file itself"
        )
    return (folder / WEIGHTS_FILE,)


def read_statistics(folder: Path | None, config: dict[str, Any], names: str) -> Statistics:
    """Statistics of a checkpoint, in this order: preprocessor_config.json, timm's config.json, the name.

    `names` is the id and file name: satellite checkpoints (`sat493m`) have their own statistics,
    everything else ImageNet's. Without `folder` (a single file) the name alone decides.
    """
    timm_config = config.get("pretrained_cfg", config)
    if folder is not None and (folder / "preprocessor_config.json").is_file():
        preprocessor = folder / "preprocessor_config.json"
        values = read_json(preprocessor)
        return _statistics(values.get("image_mean"), values.get("image_std"), preprocessor)
    if folder is not None and "architecture" in config and "mean" in timm_config:
        return _statistics(timm_config["mean"], timm_config.get("std"), folder / "config.json")
    if "sat493m" in names:
        return Statistics(
            SATELLITE_MEAN, SATELLITE_STD, "satellite, by the name, as no preprocessor_config.json lies beside"
        )
    return Statistics(IMAGENET_MEAN, IMAGENET_STD, "ImageNet, as no preprocessor_config.json lies beside")


def _statistics(mean: Any, std: Any, path: Path) -> Statistics:
    def triple(value: Any) -> tuple[float, float, float]:
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise WeightsError(f"{path}: mean and std must be three numbers each, found {mean} and {std}")
        red, green, blue = (float(number) for number in value)
        return red, green, blue

    mean_rgb, std_rgb = triple(mean), triple(std)
    if min(std_rgb) <= 0:
        raise WeightsError(f"{path}: std must be above 0, found {std}")
    return Statistics(mean_rgb, std_rgb, path.name)
