"""A template against the tokenizer that reads it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from letter_tokenizer import LetterTokenizer
from model_folders import write_model

from rlvr.data.prompts import TemplateEncoder, make_template
from rlvr.data.template_checks import check_template, split_markers
from rlvr.errors import ConfigError
from rlvr.types import Task

TASK = Task(id="t/1", prompt="2+3?")


def encoder_of(template: str, *, prefill: str = "") -> TemplateEncoder:
    return TemplateEncoder(make_template(template, prefill=prefill), LetterTokenizer(), 64)


def refusal(encoder: TemplateEncoder, model: str = "some/model") -> str:
    with pytest.raises(ConfigError) as refused:
        check_template(encoder, TASK, model=model)
    return str(refused.value)


def test_a_chat_template_that_does_not_exist_is_named() -> None:
    tokenizer = LetterTokenizer(chat_template=None)
    encoder = TemplateEncoder(make_template("chat"), tokenizer, 64)
    assert "the model's tokenizer has no chat template" in refusal(encoder)


def test_markers_that_the_tokenizer_splits_are_named_in_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    encoder = encoder_of("<|user|>{prompt}<|end|>\n<|user|>", prefill="<|x|>")
    assert split_markers(encoder) == {"<|user|>": 8, "<|end|>": 7, "<|x|>": 5}
    with caplog.at_level(logging.WARNING):
        check_template(encoder, TASK, model="some/model")
    assert "<|user|> is 8 tokens" in caplog.text


def test_other_templates_have_no_markers_to_split() -> None:
    assert split_markers(encoder_of("r1_zero")) == {}
    assert split_markers(encoder_of("chat")) == {}


@pytest.mark.parametrize("template", ["Q: {prompt} A: <think>\n", "Q: {prompt}\n<think>"])
def test_reasoning_that_is_opened_twice_is_refused(template: str) -> None:
    assert "opens <think> a second time" in refusal(encoder_of(template, prefill="<think>\n"))
    check_template(encoder_of("Q: {prompt} A:", prefill="<think>\n"), TASK, model="some/model")


def test_a_tokenizer_with_more_tokens_than_the_weights_is_refused(tmp_path: Path) -> None:
    model = str(write_model(tmp_path / "model", vocab_size=100))
    assert "a prompt has token 116, and the weights have 100 tokens" in refusal(  # "t"
        encoder_of("t {prompt}"), model
    )
