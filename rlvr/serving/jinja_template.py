r"""Convert the prompt template of a recipe to the Jinja template of a chat server.

    "User: {prompt}\nAssistant:"  -->  {%- for message in messages -%} ... {%- endfor -%}

A single question is rendered to exactly the text of training (tested). Earlier turns precede it:
each question in the template, followed by its answer. The escapes of Jinja's string literals are
those of repr.
"""

from __future__ import annotations

from pathlib import Path

from rlvr.data.model_files import model_json
from rlvr.data.prompts import PromptTemplate
from rlvr.errors import ConfigError
from rlvr.types import Task

__all__ = ["chat_template", "own_template", "writes_bos"]

_CLOSERS = " \t\n\r\f\v\"'”’)]*$\\"  # noqa: RUF001 - same as in rlvr.data.prompts
_ENDS = ".?!:;…。？！：；"  # noqa: RUF001
_MARK = "\ue000"  # private use: in no template
_SYSTEM = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{%- set messages = [{'role': 'system', 'content': SYSTEM}] + messages -%}{%- endif -%}\n"
)


def chat_template(template: PromptTemplate, *, model_path: str) -> str | None:
    """Return the template for `--chat-template`; None: the model's own, unchanged.

    Raises:
        ConfigError: a system text or a prefill is set, but the model has no chat template.
    """
    if template.text is not None:
        bos = "{{- bos_token -}}" if writes_bos(model_path) else ""
        turns = Path(__file__).with_name("chat_turns.j2").read_text(encoding="utf-8")
        turns = turns.replace("CLOSERS", repr(_CLOSERS)).replace("ENDS", repr(_ENDS))
        turns = turns.replace("BOS", bos).replace("ASK", _ask(template.text))  # user text last
        return turns + _ending(template.prefill)
    if not template.prefill and template.system is None:
        return None
    own = own_template(model_path)
    if own is None:
        raise ConfigError(
            f"prompt.template: {model_path} has no chat template that a system text or a prefill "
            "could be added to; use r1_zero, plain, or a text with {prompt}"
        )
    system = _SYSTEM.replace("SYSTEM", repr(template.system)) if template.system else ""
    return system + own + _ending(template.prefill)


def own_template(model_path: str) -> str | None:
    """Return the chat template in a model's folder, or None."""
    folder = Path(model_path)
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    template = model_json(model_path, "tokenizer_config.json").get("chat_template")
    return template if isinstance(template, str) else None


def writes_bos(model_path: str) -> bool:
    """Whether the tokenizer puts a beginning-of-sequence token before a text.

    Training then has it before the prompt; a chat server leaves it to the template.
    """
    file = Path(model_path) / "tokenizer.json"
    if not file.is_file():
        return False
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    return tokenizer.encode("a").ids[: len(plain)] != plain


def _ask(text: str) -> str:
    """Return the Jinja expression of the template.

    PromptTemplate drops a period after {prompt} if the question ends in punctuation: `dot`.
    """
    template = PromptTemplate(text=text)
    with_dot = _parts(template, _MARK, cut=_MARK)
    without = _parts(template, _MARK + "?", cut=_MARK + "?")
    joined = repr(without[0])
    for kept, bare in zip(with_dot[1:], without[1:], strict=True):
        joined += " + question" + (" + dot" if kept != bare else "") + f" + {bare!r}"
    return "{{- " + joined + " -}}"


def _parts(template: PromptTemplate, question: str, *, cut: str) -> list[str]:
    """Return the rendered text split at each occurrence of the question."""
    return template.render(Task(id="parts", prompt=question)).text.split(cut)


def _ending(prefill: str) -> str:
    ending = "{%- if add_generation_prompt -%}{{- " + repr(prefill) + " -}}{%- endif -%}"
    return ending if prefill else ""
