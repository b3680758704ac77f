"""Parts of the user's own, imported by path: `my_lab.heads:WindowHead`.

Importing runs the code of that module, found here: in the current folder or on the Python path. Nothing is
downloaded, so a checkpoint from elsewhere that names a module absent here fails and runs none of its code.
"""

import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from dinotune import config
from dinotune.errors import SettingsError

Part = TypeVar("Part")


def build_own(settings: config.OwnPart, base: type[Part], place: str, *arguments: Any) -> Part:
    """The part that `kind` names, built from its `options` and what such a part takes besides.

    Args:
        settings: Import path and options.
        base: Class that it must be a subclass of.
        place: Where the settings stand, for messages: `head`.
        arguments: What the constructor takes after the options.

    Raises:
        SettingsError: no such module or class, another kind of class, or options that its constructor refuses.
    """
    part = import_part(settings.kind, base, f"{place}.kind")
    try:
        return part(dict(settings.options), *arguments)  # type: ignore[call-arg]
    except Exception as error:
        raise SettingsError(
            f"{place}.options: {settings.kind} cannot be built with {settings.options}: {_told(error)}"
        ) from error


def import_part(path: str, base: type[Part], place: str) -> type[Part]:
    """The class at an import path such as `my_lab.heads:WindowHead`; the current folder is looked into last.

    Raises:
        SettingsError: no such module or class, a module that fails, or a class that is no `base`.
    """
    module_name, _, name = path.partition(":")
    module = _import(module_name, place)
    part = getattr(module, name, None)
    if part is None:
        there = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)]
        raise SettingsError(
            f"{place}: {module_name} ({getattr(module, '__file__', None)}) has no {name}; "
            f"it has {', '.join(there) or f'no {base.__name__} at all'}"
        )
    if not (isinstance(part, type) and issubclass(part, base)):
        raise SettingsError(
            f"{place}: {path} is no subclass of {base.__module__}.{base.__name__}; write class {name}({base.__name__})"
        )
    return part


def _import(name: str, place: str) -> Any:
    # Last, so that no file of the current folder takes the place of an installed module.
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise SettingsError(f"{place}: {name} cannot be imported: {_told(error)}") from error
        raise SettingsError(
            f"{place}: there is no module {error.name} in {Path.cwd()} or on the Python path; "
            "start from the folder that holds it, or install it"
        ) from error
    except Exception as error:
        raise SettingsError(f"{place}: {name} cannot be imported: {_told(error)}") from error


def _told(error: Exception) -> str:
    """Kind and text of an error in the user's code, and the line that it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
