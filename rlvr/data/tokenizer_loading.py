"""Load a model's tokenizer, in a second where its class is known and in seven where it is not.

`AutoTokenizer` finds the class by model type, which imports torch and every model's configuration.
For common models the answer is known in advance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr.data.model_files import model_json, tokenizer_folder
from rlvr.errors import ConfigError, one_line

__all__ = ["KNOWN_CLASSES", "known_class", "load_tokenizer"]

GENERIC = "PreTrainedTokenizerFast"
# (model type, tokenizer_class of tokenizer_config.json) -> the class that AutoTokenizer picks
KNOWN_CLASSES = {
    ("llama", GENERIC): GENERIC,
    ("llama", "TokenizersBackend"): GENERIC,
    ("qwen2", "Qwen2Tokenizer"): "Qwen2Tokenizer",
    ("qwen3", "Qwen2Tokenizer"): "Qwen2Tokenizer",
    ("qwen3", GENERIC): GENERIC,
    ("qwen3", "TokenizersBackend"): GENERIC,
}


def load_tokenizer(model: str, *, trust_remote_code: bool = False, name: str | None = None) -> Any:
    """Return the tokenizer of a model's folder, an adapter's folder or a hub name.

    name: the model as the recipe names it, for the message. Raises ConfigError: there is none.
    """
    folder = tokenizer_folder(model)
    try:
        if known := known_class(folder):
            import transformers

            return getattr(transformers, known).from_pretrained(folder)
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:  # the tokenizers library raises no specific class
        why = f"{type(error).__name__}: {one_line(error)}"
        raise ConfigError(f"model.path: no tokenizer of {name or model}: {why}") from None


def known_class(folder: str) -> str | None:
    """Return the name of the tokenizer's class, None where only AutoTokenizer knows it."""
    if not (Path(folder) / "tokenizer.json").exists():
        return None
    settings = model_json(folder, "tokenizer_config.json")
    if "auto_map" in settings:  # code that comes with the model
        return None
    model_type = model_json(folder, "config.json").get("model_type")
    return KNOWN_CLASSES.get((str(model_type), str(settings.get("tokenizer_class"))))
