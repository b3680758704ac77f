"""From an id or path to a filled encoder, and a report of what was loaded; anything missing stops."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dinotune.backbones.keymaps import NamedWeights, to_timm_names
from dinotune.backbones.read_shape import config_says_rotary, shape_from_config, shape_from_tensors
from dinotune.backbones.shapes import Shape, build_encoder
from dinotune.backbones.snapshots import Statistics, read_json, read_statistics, weight_files
from dinotune.backbones.sources import Source, locate
from dinotune.backbones.variants import find_architecture, find_variant
from dinotune.errors import WeightsError

_NAMES_SHOWN = 8


@dataclass(frozen=True)
class LoadReport:
    """What was loaded, for the log and the run folder."""

    id: str
    """As given in the settings."""
    files: tuple[str, ...]
    """Weight files read; empty for random weights."""
    found: str
    """`path`, `DINOTUNE_WEIGHTS`, `hub cache`, `hub`, or `random weights, seed N`."""
    sha256: str | None
    parameters: int
    """Numbers that the encoder holds (timm folds or omits some that Meta counts)."""
    statistics: Statistics
    dropped: tuple[str, ...] = ()
    """Names in the file without use in a backbone."""
    notice: str = ""
    """Licence of the weights where it needs saying."""

    def describe(self) -> str:
        """One line: id, file, hash, parameters, mean and std and where from, what was left out."""
        where = f"{', '.join(self.files)} ({self.found})" if self.files else self.found
        mean, std = (
            ", ".join(f"{number:.3f}" for number in rgb) for rgb in (self.statistics.mean, self.statistics.std)
        )
        parts = [
            f"backbone {self.id}: {where}",
            *([f"sha256 {self.sha256[:12]}"] if self.sha256 else []),
            f"{self.parameters:,} parameters {'loaded' if self.files else 'drawn'}, none missing",
            f"mean ({mean}), std ({std}) from {self.statistics.source}",
            *([f"not used: {_listed(self.dropped)}"] if self.dropped else []),
            *([self.notice] if self.notice else []),
        ]
        return "; ".join(parts)


@dataclass(frozen=True)
class LoadedEncoder:
    """A filled encoder, its shape, and what was loaded."""

    encoder: nn.Module
    shape: Shape
    report: LoadReport


def load_encoder(id_: str) -> LoadedEncoder:
    """Encoder with the weights of a hub id, snapshot folder or weight file, fp32 on the CPU.

    Raises:
        WeightsError: not found, not reachable, unreadable, no DINO model, or names or sizes that do not fit.
    """
    source = locate(id_)
    folder = _snapshot_folder(source.path)
    files = weight_files(source.path) if source.path.is_dir() else (source.path,)
    config = read_json(folder / "config.json") if folder else {}
    state = {name: tensor for file in files for name, tensor in read_tensors(file).items()}
    named = to_timm_names(state, config_says_rotary(config))
    shape = (
        shape_from_config(config, named, str(folder / "config.json"), id_)
        if folder
        else shape_from_tensors(named, source.path.name, str(source.path))
    )
    encoder = build_encoder(shape)
    fill(encoder, named, str(source.path))
    names = " ".join([id_, source.path.name, str(config.get("_name_or_path", ""))])
    report = LoadReport(
        id=id_,
        files=tuple(str(file) for file in files),
        found=source.found,
        sha256=hash_files(files),
        parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        statistics=read_statistics(folder, config, names),
        dropped=named.dropped,
        notice=_notice(id_, source, named.rotary or named.is_convnext),
    )
    return LoadedEncoder(encoder, shape, report)


def _snapshot_folder(path: Path) -> Path | None:
    """The folder whose config.json describes the weights; none for a single file that stands alone."""
    if path.is_dir():
        return path
    return path.parent if path.suffix == ".safetensors" and (path.parent / "config.json").is_file() else None


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or of a `.pth` that holds a flat state dict (never unpickled freely)."""
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no pickle makes the restricted unpickler raise anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"{file}: cannot be read ({reason}); fetch it again") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file}: holds no flat state dict of tensors; use the backbone file that Meta publishes")
    return state


def fill(encoder: nn.Module, named: NamedWeights, where: str) -> None:
    """Put the tensors into an encoder built on the meta device; every name and size must fit.

    Raises:
        WeightsError: lists missing, unexpected (as named in the file) and wrongly sized tensors.
    """
    wanted, tensors = encoder.state_dict(), named.tensors
    missing = [name for name in wanted if name not in tensors]
    unexpected = [named.origin[name] for name in tensors if name not in wanted]
    sizes = [
        f"{named.origin[name]} {list(tensors[name].shape)} instead of {list(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("wrong size", sizes))
    problems = [f"{kind}: {_listed(names)}" for kind, names in kinds if names]
    if problems:
        raise WeightsError(
            f"{where}: the weights do not fit the model; " + "; ".join(problems) + ". Use an unchanged copy of the file"
        )
    encoder.load_state_dict(tensors, strict=True, assign=True)


def hash_files(files: Sequence[Path]) -> str:
    """sha256 of one file; of several, the sha256 of their sorted hashes."""
    hashes = []
    for file in files:
        with file.open("rb") as stream:
            hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()


def _notice(id_: str, source: Source, dinov3: bool) -> str:
    if not dinov3:
        return ""
    variant = find_variant(id_) or find_variant(source.path.name) or find_architecture(id_.removeprefix("timm/"))
    copy = "ungated copy; " if variant is not None and id_.startswith("timm/") else ""
    return f"{copy}the weights fall under the DINOv3 License"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
