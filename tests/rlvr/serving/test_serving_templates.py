"""Chat templates made from recipes, and the split of reasoning and answer."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import jinja2.sandbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, processors

from rlvr.data.prompts import PRESETS, make_template
from rlvr.errors import ConfigError
from rlvr.serving.jinja_template import chat_template, writes_bos
from rlvr.serving.thought_stream import Piece, ThoughtSplitter, split_thought
from rlvr.types import Task

TOY = "User: {prompt}\nAssistant:"
TEMPLATES = [TOY, PRESETS["r1_zero"], "{prompt}", r'In \boxed{}: "{prompt}". {{x}} {prompt}. Go:']


def rendered(template: str, messages: list[dict[str, str]], *, prefill: str = "") -> str:
    """Render as a chat server does."""
    return compiled(template, prefill).render(messages=messages, add_generation_prompt=True)


@cache
def compiled(template: str, prefill: str) -> jinja2.Template:
    made = chat_template(make_template(template, prefill=prefill), model_path="no/folder")
    assert made is not None
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(made)


@pytest.mark.parametrize("template", TEMPLATES)
@given(prompt=st.text(alphabet="2+?. 。\n'\"$)\\{}x\u201d", min_size=1).filter(str.strip))
def test_a_question_reads_as_in_training(template: str, prompt: str) -> None:
    expected = make_template(template, prefill="<think>\n").render(Task(id="t", prompt=prompt))
    messages = [{"role": "user", "content": prompt}]
    assert rendered(template, messages, prefill="<think>\n") == expected.text


def test_earlier_turns_precede_the_question() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+3?"},
        {"role": "assistant", "content": "5"},
        {"role": "user", "content": "And 7?"},
    ]
    assert rendered(TOY, messages) == (
        "Be brief.\nUser: 2+3?\nAssistant: 5\nUser: And 7?\nAssistant:"
    )


def test_a_models_own_template_stays_unless_something_is_added(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "OWN"}))
    assert chat_template(make_template("chat"), model_path=str(tmp_path)) is None
    template = make_template("chat", prefill="<think>\n", system="Be brief.")
    made = chat_template(template, model_path=str(tmp_path))
    assert made is not None
    text = jinja2.Template(made + "{{ messages[0]['content'] }}").render(
        messages=[{"role": "user", "content": "?"}], add_generation_prompt=True
    )
    assert text == "OWN<think>\nBe brief."
    with pytest.raises(ConfigError, match="has no chat template that"):
        chat_template(template, model_path=str(tmp_path / "none"))


def test_a_bos_token_of_training_is_also_written_in_chat(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"<s>": 0, "a": 1, "?": 2}, unk_token="?"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert not writes_bos(str(tmp_path))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert writes_bos(str(tmp_path))
    made = chat_template(make_template(TOY), model_path=str(tmp_path))
    assert made is not None
    messages = [{"role": "user", "content": "a"}]
    text = jinja2.Template(made).render(messages=messages, bos_token="<s>")
    assert text == "<s>User: a\nAssistant:"


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>a</think>b", "a", "b"),
        (" \n<think>a</think>\n\nb", "a", "\n\nb"),
        ("a</think>b", "a", "b"),
        ("b", None, "b"),
        ("<think>a", "a", ""),
        ("<think></think>b", "", "b"),
        ("well <think>a</think>b", "a", "well b"),
        ("<think>a</think>b<think>c</think>d", "a", "b<think>c</think>d"),
        ("1 < 2 </", None, "1 < 2 </"),
        ("", None, ""),
    ],
)
def test_thought_and_answer_of_a_text(text: str, thought: str | None, answer: str) -> None:
    assert split_thought(text) == (thought, answer)


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("a</think>b", "a", "b"),
        ("<think>a</think>b", "a", "b"),
        ("a", "a", ""),
        ("</thi", "</thi", ""),
        ("", "", ""),
    ],
)
def test_reasoning_that_the_prompt_opened(text: str, thought: str, answer: str) -> None:
    assert split_thought(text, think_prefilled=True) == (thought, answer)


def test_text_that_may_become_a_tag_is_held_back() -> None:
    splitter = ThoughtSplitter()
    assert splitter.feed(" <thi") == []
    assert splitter.feed("nk>a</") == [Piece(True, "a")]
    assert splitter.feed("b></thin") == [Piece(True, "</b>")]
    assert splitter.feed("k>c<think>") == [Piece(False, "c<think>")]
    assert splitter.finish() == []


@given(
    text=st.text(alphabet="ab<>/ ").map(
        lambda s: s.replace("a", "<think>").replace("b", "</think>")
    ),
    cuts=st.lists(st.integers(0, 40)),
    think_prefilled=st.booleans(),
)
def test_cuts_change_nothing(text: str, cuts: list[int], think_prefilled: bool) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    splitter, whole = (
        ThoughtSplitter(think_prefilled=think_prefilled),
        ThoughtSplitter(think_prefilled=think_prefilled),
    )
    pieces = [p for a, b in pairwise(places) for p in splitter.feed(text[a:b])]
    pieces += splitter.finish()
    at_once = [*whole.feed(text), *whole.finish()]
    for is_thought in (True, False):
        assert "".join(p.text for p in pieces if p.is_thought is is_thought) == "".join(
            p.text for p in at_once if p.is_thought is is_thought
        )
