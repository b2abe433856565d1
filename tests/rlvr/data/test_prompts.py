"""Templates: their text and tokens, and whether they open the reasoning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from letter_tokenizer import LetterTokenizer

from rewards import think_format
from rewards.math.extract import read_answer
from rewards.transcript import as_turn
from rlvr.data.prompts import PRESETS, GoldStyle, PromptTemplate, make_template, render_gold
from rlvr.data.tasks import TaskList, open_tasks
from rlvr.errors import ConfigError
from rlvr.types import Task

DATA = Path(__file__).parents[3].parent / "shared/data"
QUESTION = Task(id="t/1", prompt="What is 2+3?")


def text_of(template: PromptTemplate, prompt: str = "What is 2+3?") -> str:
    return template.render(Task(id="t/1", prompt=prompt), tokenizer=LetterTokenizer()).text


def error_of(template: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        make_template(template, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_r1_zero_is_the_template_of_the_paper() -> None:
    text = text_of(make_template("r1_zero"))
    assert text.startswith("A conversation between User and Assistant. The user asks a question")
    assert text.endswith("answer here </answer>. User: What is 2+3? Assistant:")
    assert PRESETS["r1_zero"].endswith("User: {prompt}. Assistant:")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("2+3", "User: 2+3. A:"),
        ("What is 2+3?", "User: What is 2+3? A:"),
        ("Find $x$.\n", "User: Find $x$. A:"),
        ("Find $x.$", "User: Find $x.$ A:"),
        (r"Find \[x.\]", r"User: Find \[x.\] A:"),
        ('He said "Go!"', 'User: He said "Go!" A:'),
        ("2+3 等于多少？", "User: 2+3 等于多少？ A:"),  # noqa: RUF001
        ("0.5 and 1", "User: 0.5 and 1. A:"),
    ],
)
def test_the_dot_after_the_prompt_is_dropped_after_another_mark(prompt: str, text: str) -> None:
    assert text_of(make_template("User: {prompt}. A:"), prompt) == text


def test_other_braces_are_literal() -> None:
    template = make_template(r"{prompt} Use \boxed{} or \frac{1}{2} or {{x}}, \boxed{\text{}}")
    assert (
        text_of(template, "{answer}")
        == r"{answer} Use \boxed{} or \frac{1}{2} or {x}, \boxed{\text{}}"
    )


def test_a_template_that_cannot_be_filled_is_refused() -> None:
    assert error_of("{prompt} {answer}") == (
        "prompt.template: unknown placeholder {answer}; only {prompt} is filled in, "
        "write {{answer}} for the braces themselves"
    )
    assert error_of("r1_zer0") == (
        "prompt.template: 'r1_zer0' has no {prompt} in it and is no preset; "
        "allowed: plain, r1_zero, chat, or a text with {prompt}"
    )
    assert "a system message requires prompt.template=chat" in error_of("plain", system="Be brief.")


@pytest.mark.parametrize(
    ("template", "prefill", "think_prefilled"),
    [
        ("r1_zero", "", False),
        ("r1_zero", " Let me solve this step by step.\n<think>", True),
        ("{prompt}\n<think>\n", "", True),
        ("chat", "", False),
        ("chat", "<think>\n", True),
        ("chat", "<think>\nOkay,", True),
        ("chat", "<think>\n\n</think>\n\n", False),
        ("{prompt} Use <think> and </think>.", "", False),
    ],
)
def test_a_template_knows_whether_it_prefills_the_reasoning(
    template: str, prefill: str, think_prefilled: bool
) -> None:
    rendered = make_template(template, prefill=prefill).render(
        QUESTION, tokenizer=LetterTokenizer()
    )
    assert rendered.text.endswith(prefill)
    assert rendered.think_prefilled is think_prefilled


def test_a_chat_template_gets_the_messages_and_the_system_text() -> None:
    template = make_template("chat", system="Be brief.")
    assert text_of(template) == "<s>[system]Be brief.[user]What is 2+3?[assistant]"
    own = [{"role": "system", "content": "Own."}, {"role": "user", "content": "2+3?"}]
    task = Task(id="t/1", prompt=own)
    text = template.render(task, tokenizer=LetterTokenizer()).text
    assert text == "<s>[system]Own.[user]2+3?[assistant]"


def test_a_conversation_needs_a_chat_template() -> None:
    messages = [{"role": "user", "content": "2+3?"}]
    assert make_template("plain").render(Task(id="t/1", prompt=messages)).text == "2+3?"
    with pytest.raises(ConfigError, match="task t/1 is a conversation of 2 messages"):
        make_template("plain").render(Task(id="t/1", prompt=messages * 2))


def test_chat_without_a_chat_template_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no chat template; use r1_zero"):
        make_template("chat").render(QUESTION, tokenizer=LetterTokenizer(chat_template=None))


def test_a_prompt_has_one_begin_token_and_no_end_token() -> None:
    def ids(template: str, *, adds_eos: bool = False) -> list[int]:
        tokenizer = LetterTokenizer(adds_eos=adds_eos)
        array = make_template(template).encode(tokenizer, QUESTION, max_prompt_tokens=100)
        assert array.dtype == np.int32
        return list(array)

    letters = [ord(letter) for letter in "What is 2+3?"]
    assert ids("plain") == [1, *letters]
    assert ids("plain", adds_eos=True) == [1, *letters]
    assert ids("<s>{prompt}", adds_eos=True) == [1, *letters]
    assert ids("chat")[:2] == [1, ord("[")]
    assert ids("chat", adds_eos=True).count(1) == 1


def test_a_prompt_that_is_too_long_is_named() -> None:
    template = make_template("plain")
    template.encode(LetterTokenizer(), QUESTION, max_prompt_tokens=13)
    with pytest.raises(
        ConfigError, match="task t/1 has 13 prompt tokens, over max_prompt_tokens=12"
    ):
        template.encode(LetterTokenizer(), QUESTION, max_prompt_tokens=12)


@pytest.mark.parametrize("style", list(GoldStyle))
@pytest.mark.parametrize("think_prefilled", [False, True])
def test_a_rendered_gold_has_the_format_and_states_the_answer(
    style: GoldStyle, think_prefilled: bool
) -> None:
    gold = render_gold(r"\frac{1}{2}", think_prefilled=think_prefilled, style=style)
    assert gold.startswith("<think>") is not think_prefilled
    assert think_format([gold], profile=style.value, think_prefilled=think_prefilled) == [1.0]
    answer = read_answer(as_turn(gold), think_prefilled)
    assert getattr(answer, "text", None) == r"\frac{1}{2}"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here")
@pytest.mark.parametrize(
    ("name", "file"), [("gsm8k", "gsm8k/train.jsonl.gz"), ("math", "math_train/train.jsonl.gz")]
)
def test_every_real_gold_is_read_back_from_its_rendering(name: str, file: str) -> None:
    source = open_tasks(name, path=str(DATA / file))
    assert isinstance(source, TaskList)
    golds = [str(task.columns["answer"]) for task in source.tasks]
    read = [read_answer(as_turn(render_gold(gold, think_prefilled=False))) for gold in golds]
    differing = [
        (task.id, gold)
        for task, gold, answer in zip(source.tasks, golds, read, strict=True)
        if getattr(answer, "text", None) != gold.strip()
    ]
    assert differing == []
