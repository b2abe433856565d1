"""Check of the installed packages before any actor starts."""

from __future__ import annotations

import importlib
import importlib.util

from rlvr.errors import ConfigError

__all__ = ["check_environment"]

REQUIRED = ("torch", "vllm", "deepspeed", "ray", "transformers")
# text models need none of these, but transformers and vLLM import them if they are installed
OPTIONAL = ("torchvision", "torchaudio", "torchcodec")


def check_environment() -> None:
    """Check that all required packages are installed and no optional one is broken.

    Raises:
        ConfigError: the message names the package and what to do.
    """
    for package in REQUIRED:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"{package} is not installed; install all packages with `make setup`")
    for package in OPTIONAL:
        if importlib.util.find_spec(package) is None:
            continue
        try:
            importlib.import_module(package)
        except (ImportError, OSError, RuntimeError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"{package} is installed but does not match this torch ({why}), which breaks "
                f"transformers and vLLM; text models do not need it: `python -m pip uninstall "
                f"{package}`"
            ) from None
