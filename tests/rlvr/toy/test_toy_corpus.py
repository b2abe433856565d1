"""Text and tokenizer of the toy world."""

from __future__ import annotations

import re
from itertools import islice

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rlvr.toy.corpus import TEMPLATE, documents, worked_examples
from rlvr.toy.problems import Chain, heldout_tasks, problem
from rlvr.toy.toy_model import make_tokenizer

WELL_FORMED = re.compile(r"\s*<think>[^<]+</think>\s*<answer>(\d+)</answer>\s*")
CHAIN = re.compile(r"(?<![\d+*-])(\d+(?:\*\d+)?)((?:[+-]\d+)+)(?=[^\d+-])")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(seed=0)


def test_no_document_asks_or_works_a_heldout_chain() -> None:
    num_chains = 0
    for document in islice(documents(0), 6000):
        for head, terms in CHAIN.findall(document):
            chain = Chain(
                head=tuple(map(int, head.split("*"))),
                terms=tuple(map(int, re.findall(r"[+-]\d+", terms))),
            )
            if chain.num_numbers > 2:
                num_chains += 1
                assert not chain.is_heldout, document
    assert num_chains > 3000


def test_documents_repeat_with_their_seed() -> None:
    assert list(islice(documents(5), 50)) == list(islice(documents(5), 50))
    assert list(islice(documents(5), 50)) != list(islice(documents(6), 50))


def test_tags_are_seldom_and_some_of_them_broken() -> None:
    texts = list(islice(documents(1), 4000))
    tagged = [text for text in texts if "think>" in text]
    broken = [text for text in tagged if len(re.findall(r"</?(?:think|answer)>", text)) == 3]
    assert 0.1 < len(tagged) / len(texts) < 0.3
    assert 0.1 < len(broken) / len(tagged) < 0.4


def test_worked_examples_are_well_formed_right_and_not_heldout() -> None:
    heldout = {task.prompt for task in heldout_tasks(500)}
    for example in worked_examples(300, seed=2):
        match = WELL_FORMED.fullmatch(example.completion)
        assert match is not None
        assert match[1] == example.answer
        assert example.completion.startswith(" <think>")
        thought = example.completion.split("</think>")[0]
        assert thought.endswith((f"={example.answer}, ok", f"={example.answer},好"))
        assert example.prompt not in heldout


def test_the_tokenizer_gives_every_problem_and_document_back(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    texts = [TEMPLATE.format(prompt=problem(index).prompt) for index in range(500)]
    for text in [*texts, *islice(documents(9), 500), "Ünknown: 你好 🙂\n\n  x"]:
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_digits_and_tags_are_single_ordinary_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    def pieces(text: str) -> list[str]:
        return [tokenizer.decode([token]) for token in tokenizer(text)["input_ids"]]

    assert pieces("12+345=357") == [*"12+345=357"]
    assert pieces(" <think>17</think><answer>8</answer>") == [
        *(" <think>", "1", "7", "</think>", "<answer>", "8", "</answer>")
    ]
    special = set(tokenizer.all_special_ids)
    assert special == {tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert special.isdisjoint(tokenizer(" <think></think><answer></answer>")["input_ids"])


def test_prompt_and_completion_meet_at_a_token_border(tokenizer: PreTrainedTokenizerFast) -> None:
    for example in worked_examples(100):
        prompt = TEMPLATE.format(prompt=example.prompt)
        apart = tokenizer(prompt)["input_ids"] + tokenizer(example.completion)["input_ids"]
        assert tokenizer(prompt + example.completion)["input_ids"] == apart


def test_a_saved_tokenizer_loads_and_agrees(
    tokenizer: PreTrainedTokenizerFast, tmp_path: pytest.TempPathFactory
) -> None:
    tokenizer.save_pretrained(str(tmp_path))
    loaded = AutoTokenizer.from_pretrained(str(tmp_path))
    text = next(documents(4))
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (loaded.eos_token_id, loaded.pad_token_id) == (0, 1)
