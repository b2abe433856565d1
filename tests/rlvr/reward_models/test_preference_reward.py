"""The text that the reward model scores, and the rewards made from its scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewards import RewardMix
from rlvr.reward_models.preference_reward import harmlessness, judged_text, preference, score
from rlvr.toy.toy_model import make_tokenizer

PROMPT = "User: Greet Tom.\nAssistant:"
COMPLETION = " <think>be kind</think>\nHello!"


def test_helpfulness_is_judged_on_the_summary_alone() -> None:
    text = judged_text(PROMPT, COMPLETION, part="answer", think_prefilled=False)
    assert text == "User: Greet Tom.\nAssistant:Hello!"


def test_harmlessness_is_judged_on_thought_and_summary() -> None:
    text = judged_text(PROMPT, COMPLETION, part="whole", think_prefilled=False)
    assert text == PROMPT + COMPLETION


def test_a_thought_that_the_prompt_opened_is_no_part_of_the_summary() -> None:
    opened = "Q: hi\n<think>"
    assert judged_text(opened, "kind</think>Hello!", part="answer", think_prefilled=True) == (
        "Q: hi\nHello!"
    )
    assert judged_text(opened, "kind</think>Hello!", part="whole", think_prefilled=True) == (
        "Q: hi\n<think>kind</think>Hello!"
    )


def test_a_line_break_behind_the_opened_thought_changes_nothing() -> None:
    opened = "Q: <think> is a tag\n<think>\n"
    assert judged_text(opened, "kind</think>Hello!", part="answer", think_prefilled=True) == (
        "Q: <think> is a tag\nHello!"
    )
    assert (
        judged_text(PROMPT, COMPLETION, part="answer", think_prefilled=False) == PROMPT + "Hello!"
    )


def test_harmlessness_has_a_name_of_its_own_so_that_a_recipe_can_have_both() -> None:
    assert harmlessness([" <think>be ki"], [PROMPT], model="runs/none") == [0.0]
    names = ("preference", "harmlessness")
    options = {"weight": 1.0, "options": {"model": "runs/none"}}
    mix = RewardMix({f"rlvr.reward_models.preference_reward:{name}": options for name in names})
    assert mix.ranges == {
        f"rlvr.reward_models.preference_reward:{name}": (0.0, 1.0) for name in names
    }


def test_an_unfinished_thought_earns_nothing_without_a_model() -> None:
    completions = [" <think>be ki", " <think>so"]
    assert preference(completions, [PROMPT] * 2, model="runs/none") == [0.0, 0.0]


def test_another_part_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed: answer, whole"):
        preference([COMPLETION], [PROMPT], model="runs/none", part="thought")


def test_the_mix_gives_it_the_prompts_and_knows_its_range() -> None:
    name = "rlvr.reward_models.preference_reward:preference"
    mix = RewardMix({name: {"options": {"model": "runs/none"}}})
    assert "prompts" in mix.wants
    assert mix.ranges == {name: (0.0, 1.0)}
    assert mix.required_columns == ()


def test_the_score_of_a_text_does_not_depend_on_the_others(tmp_path: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    tokenizer = make_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=64,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = [PROMPT + COMPLETION, PROMPT, PROMPT + COMPLETION * 9]
    alone = [score(str(tmp_path), [text])[0] for text in texts]
    assert len(set(alone)) == 3
    assert score(str(tmp_path), texts) == alone
