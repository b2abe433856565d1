"""Keys that may change when a run is continued, and what counts as a change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fakes import config_of
from pydantic import BaseModel

from rlvr.config.changes import Effect, changes_between, effect_of
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.run.stage_protocol import STAGES, load_stage
from rlvr.stages.sft.sft_config import SftConfig


def keys_of(
    schema: type[BaseModel], prefix: str = "", mark: Effect = Effect.FIXED
) -> dict[str, Effect]:
    """Effect of each key of a recipe, sections resolved."""
    found = {}
    for name, field in schema.model_fields.items():
        key, effect = f"{prefix}{name}", effect_of(field) if mark is Effect.FIXED else mark
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= keys_of(field.annotation, f"{key}.", effect)
        else:
            found[key] = effect
    return found


def with_effect(schema: type[BaseModel], effect: Effect) -> set[str]:
    return {key for key, found in keys_of(schema).items() if found is effect}


def in_sections(keys: set[str], *sections: str) -> set[str]:
    return {key for key in keys if key.split(".")[0] in sections}


def test_the_free_keys_of_grpo() -> None:
    free = with_effect(GrpoConfig, Effect.FREE)
    assert free - in_sections(free, "eval") == {
        "num_steps",
        "num_epochs",
        "learner.lr",
        "learner.lr_schedule",
        "learner.min_lr_frac",
        "learner.warmup_steps",
        "learner.weight_decay",
        "learner.max_grad_norm",
    }
    assert in_sections(free, "eval") == in_sections(set(keys_of(GrpoConfig)), "eval")


def test_the_neutral_keys_of_grpo() -> None:
    neutral = with_effect(GrpoConfig, Effect.NEUTRAL)
    whole = in_sections(neutral, "resources", "trackers", "checkpoint", "checks", "sandbox")
    assert {section.split(".")[0] for section in whole} == {
        *("resources", "trackers", "checkpoint", "checks", "sandbox"),
    }
    assert neutral - whole == {
        "name",
        "output_dir",
        "rollout.num_engines",
        "rollout.tensor_parallel",
        "rollout.max_concurrent",
        "rollout.kv_cache_gib",
        "rollout.store",
        "learner.token_budget",
        "learner.gradient_checkpointing",
    }


def test_what_makes_another_experiment_or_other_checkpoint_shards_is_fixed() -> None:
    fixed = with_effect(GrpoConfig, Effect.FIXED)
    assert {"seed", "rewards", "more_tasks", "learner.num_ranks", "learner.zero_stage"} <= fixed
    for section in ("model", "tasks", "prompt", "loss"):
        assert in_sections(set(keys_of(GrpoConfig)), section) <= fixed
    assert {"batch_size", "data", "model", "optimizer"} <= with_effect(SftConfig, Effect.FIXED)


@pytest.mark.parametrize("command", STAGES)
def test_the_stage_and_the_seed_are_fixed_everywhere(command: str) -> None:
    fields = load_stage(command).schema.model_fields
    assert {effect_of(fields[name]) for name in ("stage", "seed")} == {Effect.FIXED}


@pytest.mark.parametrize("effect", [Effect.FREE, Effect.NEUTRAL])
@pytest.mark.parametrize("schema", [GrpoConfig, SftConfig])
def test_the_documentation_names_each_key_or_its_section(
    schema: type[BaseModel], effect: Effect
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "runs.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{effect}` |")]
    cell = row.split("|")[3 if schema is GrpoConfig else 4]
    named = set(re.findall(r"`([^`]+)`", cell))
    keys = with_effect(schema, effect)
    sections = {key.split(".")[0] for key in keys} & named
    assert named == {key for key in keys if key.split(".")[0] not in sections} | sections


def test_the_json_schema_tells_the_effect_of_a_key() -> None:
    schema = GrpoConfig.model_json_schema()
    assert schema["properties"]["num_steps"]["change"] == "free"
    assert schema["$defs"]["LearnerSection"]["properties"]["token_budget"]["change"] == "neutral"
    assert "change" not in schema["properties"]["seed"]


def stored(**sections: Any) -> dict[str, Any]:
    return config_of(**sections).model_dump(mode="json")


def described(before: dict[str, Any], **sections: Any) -> list[tuple[str, str]]:
    return [(str(one), str(one.effect)) for one in changes_between(before, config_of(**sections))]


def test_equal_configs_have_no_change() -> None:
    assert changes_between(stored(), config_of()) == []


def test_each_changed_key_is_told_with_both_values_and_its_effect() -> None:
    before = stored(eval={"tasks": {"source": "toy", "split": "heldout", "num_tasks": 4}})
    now = {
        "num_steps": 9,
        "rewards": {"think_format": 0.5},
        "learner": {"lr": 2.0, "num_ranks": 2},
        "eval": {"tasks": {"source": "toy", "split": "heldout", "num_tasks": 8}},
    }
    assert described(before, **now) == [
        ("eval.tasks.num_tasks was 4 and is 8", "free"),
        ("learner.lr was 1e-06 and is 2.0", "free"),
        ("learner.num_ranks was 1 and is 2", "fixed"),
        ("num_steps was 3 and is 9", "free"),
        ("rewards.accuracy was {'weight': 1.0, 'only': {}} and is None", "fixed"),
        ("rewards.think_format was None and is {'weight': 0.5, 'only': {}}", "fixed"),
    ]


def test_a_key_that_the_stored_config_lacks_had_its_default() -> None:
    before = stored()
    del before["loss"], before["learner"]["lr_schedule"], before["rollout"]["top_k"]
    assert described(before) == []
    assert described(before, loss={"name": "dapo"}) == [
        ("loss.name was 'grpo' and is 'dapo'", "fixed")
    ]


def test_a_key_that_no_longer_exists_is_a_change() -> None:
    assert described({**stored(), "gates": 1}) == [("gates was 1 and is None", "fixed")]
