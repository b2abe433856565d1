"""The inference prompt starts the training text, which has the reasoning, and one end token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from rlvr.data.prompts import PromptTemplate, make_template
from rlvr.errors import ConfigError
from rlvr.stages.sft.examples import Example
from rlvr.stages.sft.row_encoding import (
    IGNORED,
    Fate,
    RenderedRow,
    RowEncoder,
    TokenRow,
    end_of_turn,
)
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_plan import make_plan
from rlvr.toy.toy_model import EOS_TOKEN, make_tokenizer
from rlvr.types import Task

# as R1-Distill's: text before </think> is dropped from the assistant's turns
R1_DISTILL = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|Assistant|>"
    "{{ m.content.split('</think>')[-1] }}<|endoftext|>{% else %}<|User|>{{ m.content }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
# as Qwen3's: thoughts of older turns are dropped, and the prompt opens none
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{{ m.content.split('</think>')[-1].lstrip() }}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THOUGHT_AND_ANSWER = "<think>\n{}\n</think>\n\n{}"
TEXT = st.text(alphabet="0123456789+*=abc ,.\n", max_size=40)


def a_tokenizer(template: str | None = None, *, adds_end: bool = False) -> Any:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    if adds_end:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"$A {EOS_TOKEN}", special_tokens=[(EOS_TOKEN, tokenizer.eos_token_id)]
        )
    return tokenizer


TOKENIZERS = {
    "r1": a_tokenizer(R1_DISTILL),
    "qwen3": a_tokenizer(QWEN3),
    "text": a_tokenizer(),
    "adds end": a_tokenizer(adds_end=True),
}
TEMPLATES = {
    "r1": make_template("chat"),
    "qwen3": make_template("chat"),
    "text": make_template("User: {prompt}\nAssistant:"),
    "adds end": make_template("### {prompt}\n", prefill="<think>\n"),
}


RECIPE = {
    "name": "a",
    "model": "toy",
    "data": "rows.jsonl",
    "prompt": {"template": "plain"},
    "max_tokens": 10_000,
}
PLAN = make_plan(SftConfig.model_validate(RECIPE), is_cpu=True)


def encode(kind: str, prompt: Any, completion: str, **rules: Any) -> tuple[RenderedRow, TokenRow]:
    tokenizer, template = TOKENIZERS[kind], TEMPLATES[kind]
    example = Example(prompt=prompt, completion=completion, where="rows.jsonl:1", columns={})
    config = PLAN.config.model_copy(update=rules)
    encoder = RowEncoder(replace(PLAN, template=template, config=config), tokenizer)
    rendered = encoder.render(example)
    return rendered, encoder.encode(rendered)


def inference_ids(kind: str, prompt: Any) -> list[int]:
    """The prompt of an engine, by the code that GRPO uses."""
    template: PromptTemplate = TEMPLATES[kind]
    task = Task(id="1", prompt=prompt)
    return template.encode(TOKENIZERS[kind], task, max_prompt_tokens=10_000).tolist()


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=60, deadline=None)
@given(question=TEXT.filter(str.strip), thought=TEXT.filter(str.strip), answer=TEXT)
def test_the_inference_prompt_is_a_prefix_and_the_thought_is_kept(
    kind: str, question: str, thought: str, answer: str
) -> None:
    rendered, row = encode(kind, question, THOUGHT_AND_ANSWER.format(thought, answer))
    prompt_ids = inference_ids(kind, question)
    assert row.input_ids[: len(prompt_ids)] == prompt_ids
    assert set(row.labels[: len(prompt_ids)]) == {IGNORED}
    assert row.labels[len(prompt_ids) :] == row.input_ids[len(prompt_ids) :]
    text = TOKENIZERS[kind].decode(row.input_ids)
    assert text.startswith(rendered.prompt_text)
    assert text.count("<think>") == text.count("</think>") == 1
    assert thought in text
    eos = TOKENIZERS[kind].eos_token_id
    assert row.labels[-1] == eos
    assert row.labels.count(eos) == 1
    assert rendered.has_thought


def test_the_templates_do_drop_thoughts() -> None:
    """Otherwise the test above would prove nothing."""
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "<think>\ndeep\n</think>\n\na"},
    ]
    for kind in ("r1", "qwen3"):
        assert "deep" not in TOKENIZERS[kind].apply_chat_template(turns, tokenize=False)


@pytest.mark.parametrize("completion", ["5", f"5{EOS_TOKEN}", f"5{EOS_TOKEN}{EOS_TOKEN}\n"])
@pytest.mark.parametrize("kind", ["text", "adds end"])
def test_the_end_is_learned_once(kind: str, completion: str) -> None:
    thought = "<think>\n2+3=5\n</think>\n\n" if kind == "adds end" else ""
    _, row = encode(kind, "2+3", thought + completion)
    eos = TOKENIZERS[kind].eos_token_id
    assert row.labels[-1] == eos
    assert row.input_ids.count(eos) == 1


def test_text_alone_is_learned_whole_with_its_end() -> None:
    tokenizer = TOKENIZERS["adds end"]
    _, row = encode("adds end", None, "2+3=5")
    assert row.labels == row.input_ids
    assert row.input_ids.count(tokenizer.eos_token_id) == 1
    assert row.input_ids[-1] == tokenizer.eos_token_id


def test_a_row_that_is_cut_does_not_learn_to_end_there() -> None:
    _, row = encode("text", "2+3", "1" * 99, max_tokens=20)
    assert row.fate is Fate.CUT
    assert len(row.input_ids) == len(row.labels) == 20
    assert TOKENIZERS["text"].eos_token_id not in row.input_ids


def test_an_empty_thought_is_put_in_front_where_there_is_none() -> None:
    rendered, _ = encode("qwen3", "2+3", "5", no_thought="empty_block")
    assert rendered.completion == "<think>\n\n</think>\n\n5"
    assert not rendered.has_thought
    rendered, row = encode("r1", "2+3", "5", no_thought="empty_block")
    assert TOKENIZERS["r1"].decode(row.input_ids).count("<think>") == 1
    assert (rendered.prompt_text + rendered.completion).endswith("<think>\n\n</think>\n\n5")
    with_thought, _ = encode("qwen3", "2+3", "<think>a</think>5", no_thought="empty_block")
    assert with_thought.completion == "<think>a</think>5"


def test_a_prompt_that_opens_a_thought_needs_one() -> None:
    with pytest.raises(ConfigError, match=r"rows\.jsonl:1: the prompt opens <think> and the row"):
        encode("r1", "2+3", "5")


def test_an_answer_that_was_written_behind_an_open_thought_gets_its_tag() -> None:
    rendered, _ = encode("qwen3", "2+3", "2+3=5</think>5")
    assert rendered.completion == "<think>\n2+3=5</think>5"
    rendered, _ = encode("r1", "2+3", "2+3=5</think>5")
    assert rendered.completion == "2+3=5</think>5"


def test_the_prompt_is_learned_too_where_the_recipe_says_so() -> None:
    _, row = encode("text", "2+3", " 5", learn_prompt=True)
    assert row.labels == row.input_ids


def test_history_is_read_and_not_learned() -> None:
    turns = [
        {"role": "user", "content": "2+3"},
        {"role": "assistant", "content": "<think>\nold\n</think>\n\n5"},
        {"role": "user", "content": "4+5"},
    ]
    rendered, row = encode("qwen3", turns, "<think>\nnew\n</think>\n\n9")
    assert "old" not in rendered.prompt_text  # as the model will see it
    learned = [label for label in row.labels if label != IGNORED]
    assert TOKENIZERS["qwen3"].decode(learned) == f"<think>\nnew\n</think>\n\n9{EOS_TOKEN}"


def test_a_chat_template_that_ends_turns_otherwise_is_detected() -> None:
    ends = {kind: end_of_turn(TEMPLATES[kind], TOKENIZERS[kind]) for kind in TOKENIZERS}
    assert ends == {"r1": None, "qwen3": "<|im_end|>", "text": None, "adds end": None}
