"""Load a user's function by its dotted path, `pkg.module:function`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rlvr.errors import ConfigError

__all__ = ["load_function"]


def load_function(dotted: str, *, key: str) -> Callable[..., Any]:
    """Return the function at `dotted`; `key` is its place in the recipe, for error messages.

    An import error inside the user's module propagates with its traceback.

    Raises ConfigError: malformed path, missing module, missing or uncallable attribute.
    """
    module_name, _, function_name = dotted.partition(":")
    if not module_name or not function_name:
        raise ConfigError(f"{key}: {dotted!r} is not of the form pkg.module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"{key}: no module {error.name!r} for {dotted!r}; "
            "install it or add its folder to PYTHONPATH"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(f"{key}: module {module_name!r} has no function {function_name!r}")
    return function
