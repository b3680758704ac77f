"""The recipes and modifiers that come with the package, by name; everything else is a path to a YAML file."""

from dataclasses import replace
from pathlib import Path

from dinotune.config.suggestions import did_you_mean
from dinotune.config.yaml_file import Layer, read_layer
from dinotune.errors import SettingsError

RECIPES = Path(__file__).parents[1] / "recipes"
MODIFIERS = RECIPES / "modifiers"


def names(folder: Path = RECIPES) -> list[str]:
    """Names of the recipes (or of the modifiers) that come with the package."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def header(name: str, folder: Path = RECIPES) -> list[str]:
    """Lines of the comment that a recipe opens with, without the `#`."""
    lines = (folder / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#").strip() for line in lines[:end]]


def experiment_layers(source: str | Path) -> list[Layer]:
    """Layers of a recipe or file, first the one it says to start from with `base:`.

    Raises:
        SettingsError: A file or recipe on the way does not exist, cannot be read, or comes back to itself.
    """
    layers: list[Layer] = []
    seen: list[Path] = []
    following: str | Path | None = source
    while following is not None:
        path = _experiment_path(following)
        if path.resolve() in seen:
            raise SettingsError(f"{path}: base: comes back to itself; start from a recipe such as {names()[0]}")
        seen.append(path.resolve())
        layer = read_layer(path)
        following = layer.tree.pop("base", None)
        if following is not None and not isinstance(following, str):
            raise SettingsError(f"{layer.places[('base',)]}: base: give the name of a recipe or a YAML file")
        layers.insert(0, layer)
    return layers


def modifier_layer(source: str | Path) -> Layer:
    """Settings of a modifier that comes with the package, or of a file.

    Raises:
        SettingsError: There is no such modifier or file, or it has a `base`.
    """
    path = _named(source, MODIFIERS) or _file(source)
    if path is None:
        available = names(MODIFIERS)
        hint = did_you_mean(str(source), available)
        raise SettingsError(
            f'"{source}": no such modifier{hint}\n  modifiers: {", ".join(available)}\n  '
            "a setting is written key=value, a modifier of your own as the path of its YAML file"
        )
    layer = read_layer(path)
    if "base" in layer.tree:
        raise SettingsError(f"{layer.places[('base',)]}: base: only an experiment starts from a recipe; remove it")
    return replace(layer, is_modifier=True)


def _experiment_path(source: str | Path) -> Path:
    path = _named(source, RECIPES) or _file(source)
    if path is not None:
        return path
    folder = Path(source).expanduser()
    if (folder / "experiment.yaml").is_file():
        return folder / "experiment.yaml"
    available = names()
    if folder.is_dir():
        raise SettingsError(
            f'"{source}": is a folder, not an experiment; name a recipe and give the folder as data, '
            f"e.g. {_example(available)} data={source}"
        )
    if str(source) in names(MODIFIERS):
        raise SettingsError(f'"{source}": is a modifier; write it after an experiment: {_example(available)} {source}')
    hint = did_you_mean(str(source), available)
    what = "YAML file" if _looks_like_path(source) else "recipe"
    raise SettingsError(f'"{source}": no such {what}{hint}\n  recipes: {", ".join(available)}')


def _example(available: list[str]) -> str:
    return "coco_faster_rcnn" if "coco_faster_rcnn" in available else available[0]


def _named(source: str | Path, folder: Path) -> Path | None:
    return folder / f"{source}.yaml" if isinstance(source, str) and source in names(folder) else None


def _file(source: str | Path) -> Path | None:
    path = Path(source).expanduser()
    return path if path.is_file() else None


def _looks_like_path(source: str | Path) -> bool:
    return isinstance(source, Path) or "/" in source or source.endswith((".yaml", ".yml"))
