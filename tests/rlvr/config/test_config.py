"""Recipes: defaults, overrides, and one-line errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rlvr.config import load_config
from rlvr.errors import ConfigError
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.run.stage_protocol import STAGES, load_stage
from rlvr.serving.serve_config import ServeConfig
from rlvr.stages.pipeline.pipeline_config import AblateConfig, ChainConfig
from rlvr.stages.sft.sft_config import SftConfig

ROOT = Path(__file__).parents[3]
SCHEMAS: dict[str, Any] = {
    **{command: load_stage(command).schema for command in STAGES},
    "r1": ChainConfig,
    "ablate": AblateConfig,
    "serve": ServeConfig,
}
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
RECIPE = """\
name: small
num_steps: 4
model: {path: model}
tasks: {source: toy}
rewards: {accuracy: 1.0, think_format: 0.5}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def load(recipe: Path, *overrides: str) -> GrpoConfig:
    return load_config(GrpoConfig, recipe, overrides)


def refusal(recipe: Path, *overrides: str) -> str:
    """The one line that refuses a recipe, without the recipe's name."""
    with pytest.raises(ConfigError) as refused:
        load(recipe, *overrides)
    line = str(refused.value)
    assert "\n" not in line
    return line.removeprefix(f"{recipe}: ")


def test_a_missing_key_has_its_default(recipe: Path) -> None:
    config = load(recipe)
    assert (config.stage, config.seed, config.run_dir) == ("grpo", 0, Path("runs/small"))
    assert (config.rollout.tasks_per_step, config.rollout.group_size) == (32, 16)
    assert (config.loss.name, config.loss.beta, config.learner.zero_stage) == ("grpo", 0.0, 0)
    weights = {name: section.weight for name, section in config.rewards.items()}
    assert weights == {"accuracy": 1.0, "think_format": 0.5}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_recipe_of_the_repository_loads(path: Path) -> None:
    stage = yaml.safe_load(path.read_text(encoding="utf-8"))["stage"]
    assert load_config(SCHEMAS[stage], path).stage == stage


def test_there_is_a_toy_recipe_and_one_for_gsm8k() -> None:
    assert {path.parent.name for path in RECIPES} >= {"toy", "gsm8k"}


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("learner.lr=1e-5", "learner.lr", 1e-5),
        ("learner.lr=2.5E-4", "learner.lr", 2.5e-4),
        ("rollout.max_tokens=64", "rollout.max_tokens", 64),
        ("rollout.stop=[]", "rollout.stop", []),
        ("rollout.stop=[</answer>, 'User:']", "rollout.stop", ["</answer>", "User:"]),
        ("eval.every_steps=null", "eval.every_steps", None),
        ("learner.gradient_checkpointing=true", "learner.gradient_checkpointing", True),
        ("model.path=some/where", "model.path", "some/where"),
        ("model.path=a=b", "model.path", "a=b"),
        ("tasks.columns={prompt: question}", "tasks.columns", {"prompt": "question"}),
        ("tasks.columns.prompt=question", "tasks.columns", {"prompt": "question"}),
        ("rewards.accuracy.weight=0.25", "rewards.accuracy.weight", 0.25),
        ("rewards.accuracy=2", "rewards.accuracy.weight", 2.0),
        ("rewards.think_format.profile=r1", "rewards.think_format.options", {"profile": "r1"}),
        ("eval.tasks={source: toy, split: heldout}", "eval.tasks.split", "heldout"),
    ],
)
def test_an_override_is_parsed_as_yaml_with_floats(
    recipe: Path, override: str, key: str, expected: Any
) -> None:
    value: Any = load(recipe, override)
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    assert value == expected
    assert type(value) is type(expected)


def test_a_recipe_of_another_stage_is_refused_as_such(recipe: Path) -> None:
    with pytest.raises(ConfigError, match="stage is 'grpo'; this command runs stage: sft"):
        load_config(SftConfig, recipe, ["stage=grpo"])
    assert refusal(recipe, "stage=x") == "stage is 'x'; this command runs stage: grpo"


def test_a_tilde_in_a_path_is_the_home_folder(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    config = load(recipe, "model.path=~/m", "output_dir=~/runs", "tasks.path=~/rows.jsonl")
    assert (config.model.path, config.tasks.path) == ("/home/ada/m", "/home/ada/rows.jsonl")
    assert config.run_dir == Path("/home/ada/runs/small")
    overrides = ["stage=sft", "name=a", "num_rows=1", "model=~/m", "data=~/rows.jsonl"]
    sft_recipe = recipe.with_name("sft.yaml")
    sft_recipe.write_text("stage: sft\n", encoding="utf-8")
    sft = load_config(SftConfig, sft_recipe, overrides)
    assert (sft.model, sft.data) == ("/home/ada/m", "/home/ada/rows.jsonl")


def test_the_last_override_of_a_key_counts(recipe: Path) -> None:
    assert load(recipe, "num_steps=5", "num_steps=6").num_steps == 6


def test_an_override_of_one_weight_leaves_the_others(recipe: Path) -> None:
    rewards = load(recipe, "rewards.accuracy.weight=3").rewards
    assert (rewards["accuracy"].weight, rewards["think_format"].weight) == (3.0, 0.5)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("rolout.max_tokens=3", "unknown key rolout; did you mean rollout?"),
        ("rollout.max_token=3", "unknown key rollout.max_token; did you mean max_tokens?"),
        ("rewrds.accuracy=1", "unknown key rewrds; did you mean rewards?"),
        ("learner.learning=1", "unknown key learner.learning; "),
        ("eval.tasks.sauce=x", "unknown key eval.tasks.sauce; did you mean source?"),
        ("loss.zzz=1", "unknown key loss.zzz; known keys: name, clip_low, clip_high, beta, "),
        ("num_steps=many", "num_steps: 'many' is not allowed: "),
        ("num_steps=0", "num_steps: 0 is not allowed: "),
        ("rollout=5", "rollout: 5 is not allowed: "),
        ("rollout.group_size=1", "rollout.group_size: 1 is not allowed: "),
        ("rollout.stop=x", "rollout.stop: 'x' is not allowed: "),
        ("loss.name=ppo", "loss.name: 'ppo' is not allowed: Input should be 'grpo', 'dr_grpo' or "),
        ("learner.zero_stage=4", "learner.zero_stage: 4 is not allowed: Input should be 0, 1, 2 "),
        ("name=../up", "name: '../up' is not allowed: "),
        ("checks.max_ungraded_frac=2", "checks.max_ungraded_frac: 2 is not allowed: "),
        ("rewards.accuracy.weight=heavy", "rewards.accuracy.weight: 'heavy' is not allowed: "),
    ],
)
def test_a_wrong_key_or_value_is_named(recipe: Path, override: str, line: str) -> None:
    assert refusal(recipe, override).startswith(line)


def test_several_mistakes_are_counted(recipe: Path) -> None:
    line = refusal(recipe, "num_steps=0", "seed=-1", "loss.beta=-2")
    assert line.startswith(("num_steps: 0 ", "seed: -1 ")) and line.endswith(" (and 2 more)")


def test_a_missing_key_is_named_with_what_to_do(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace("tasks: {source: toy}\n", ""), encoding="utf-8")
    assert refusal(recipe) == "tasks is missing; add it to the recipe or pass tasks=VALUE"
    recipe.write_text(RECIPE.replace("{path: model}", "{dtype: float32}"), encoding="utf-8")
    assert refusal(recipe).startswith("model.path is missing; ")


@pytest.mark.parametrize(
    ("tasks", "engines", "numbers"),
    [(32, 3, "30 or 33"), (7, 2, "6 or 8"), (3, 4, "4"), (100, 8, "96 or 104")],
)
def test_groups_that_do_not_divide_name_the_numbers_that_would(
    recipe: Path, tasks: int, engines: int, numbers: str
) -> None:
    line = refusal(recipe, f"rollout.tasks_per_step={tasks}", f"rollout.num_engines={engines}")
    assert line == (
        f"rollout.tasks_per_step: {tasks} groups cannot be divided over rollout.num_engines: "
        f"{engines}; use {numbers}"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["learner.offload=true"], "offload: true needs zero_stage 1, 2 or 3 (it is 0)"),
        (["loss.replace_reference_every=10"], "replace_reference_every needs beta > 0"),
        (
            ["eval.correct_by=acuracy"],
            "'acuracy' is not one of the rewards: accuracy, think_format",
        ),
        (["rewards.accuracy=0", "rewards.think_format=0"], "at least one reward with a weight"),
        (["rewards={}"], "at least one reward with a weight"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    recipe: Path, overrides: list[str], message: str
) -> None:
    assert message in refusal(recipe, *overrides)


def test_compatible_options_pass(recipe: Path) -> None:
    load(recipe, "learner.offload=true", "learner.zero_stage=2")
    load(recipe, "loss.replace_reference_every=10", "loss.beta=0.01")
    load(recipe, "eval.correct_by=think_format", "rewards.accuracy=0")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gates: {preflight_tasks: 0}", "checks"),
        ("eval: {tasks: {source: toy_courtesies}}", "toy_requests"),
        ("extra: [{path: 'rlvr.toy.worked:courtesies'}]", "rlvr.toy.worked:requests"),
    ],
)
def test_a_renamed_key_in_a_recipe_names_the_new_one(recipe: Path, old: str, new: str) -> None:
    recipe.write_text(RECIPE + old + "\n", encoding="utf-8")
    assert refusal(recipe).endswith(f" was renamed; use {new}")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("gates.max_bad_golds=1", "gates was renamed; use checks"),
        ("tasks.source=toy_courtesies", "toy_courtesies was renamed; use toy_requests"),
        (
            "rewards.rlvr.preference_reward:preference.model=m",
            "rlvr.preference_reward:preference was renamed; "
            "use rlvr.reward_models.preference_reward:preference",
        ),
    ],
)
def test_a_renamed_key_in_an_override_names_the_new_one(
    recipe: Path, override: str, line: str
) -> None:
    assert refusal(recipe, override) == line


def test_only_a_section_is_renamed_and_not_a_name(recipe: Path) -> None:
    assert load(recipe, "name=gates", "tasks.columns={gates: a}").name == "gates"


@pytest.mark.parametrize("override", ["num_steps", "=3", ""])
def test_an_override_has_a_key_and_a_value(recipe: Path, override: str) -> None:
    assert refusal(recipe, override) == f"{override!r}: an override has the form section.key=value"


def test_a_key_below_a_value_is_refused(recipe: Path) -> None:
    assert refusal(recipe, "name.first=x") == "'name.first=x': name is a value, not a section"


def test_invalid_yaml_is_named_with_its_line(recipe: Path) -> None:
    recipe.write_text("name: small\nmodel: {path: model\nnum_steps: 4\n", encoding="utf-8")
    assert ", line 3: not valid YAML: " in refusal(recipe)


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("", "NoneType"), ("7", "int")])
def test_a_recipe_is_a_mapping(recipe: Path, text: str, kind: str) -> None:
    recipe.write_text(text, encoding="utf-8")
    assert refusal(recipe) == f"a recipe is a mapping of keys to values, not {kind}"


def test_a_recipe_that_does_not_exist_or_is_not_text_is_refused(tmp_path: Path) -> None:
    assert "no such recipe" in refusal(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refusal(tmp_path / "binary.yaml")
    assert "cannot be read" in refusal(tmp_path)


def test_every_field_has_a_description() -> None:
    sections: list[Any] = list(SCHEMAS.values())
    for section in sections:
        for name, field in section.model_fields.items():
            kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
            below = [kind for kind in kinds if hasattr(kind, "model_fields")]
            sections += [kind for kind in below if kind not in sections]
            assert field.description or below, f"{section.__name__}.{name}"


def test_an_override_reaches_a_reward_with_a_dotted_name(recipe: Path) -> None:
    name = "mine.rewards:short"
    text = RECIPE.replace("rewards: {", f'rewards: {{"{name}": {{limit: 3}}, ')
    recipe.write_text(text, encoding="utf-8")
    config = load(recipe, f"rewards.{name}.limit=7", f"rewards.{name}.weight=0.25")
    assert config.rewards[name].options == {"limit": 7}
    assert config.rewards[name].weight == 0.25


def test_from_is_the_model_that_a_run_starts_with_and_goes_before_the_recipes(recipe: Path) -> None:
    assert load(recipe, "from=runs/a@20").model.path == "runs/a@20"
    assert load(recipe, "from='runs/a'", "model.dtype=bfloat16").model.dtype == "bfloat16"
    assert load(recipe, "from=runs/a", "model.path=runs/a").model.path == "runs/a"
    recipe.write_text(RECIPE.replace("model: {path: model}", "from: runs/b"), encoding="utf-8")
    assert load(recipe).model.path == "runs/b"
    assert load(recipe, "model.path=other").model.path == "other"
    assert load(recipe, "from=runs/c").model.path == "runs/c"


def test_from_beside_another_model_is_refused(recipe: Path) -> None:
    line = "from and model.path mean the same; give one of them"
    assert refusal(recipe, "from=runs/a", "model.path=b") == line
    recipe.write_text(RECIPE + "from: runs/b\n", encoding="utf-8")
    assert refusal(recipe) == line


def test_from_is_a_key_of_grpo_alone(recipe: Path) -> None:
    recipe.write_text("stage: sft\nname: a\nmodel: m\ndata: d\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown key from"):
        load_config(SftConfig, recipe, ["from=runs/a"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["num_epochs=2"], "num_steps and num_epochs: both are set; give one, e.g. num_steps=200"),
        (["num_steps=null"], "num_steps and num_epochs: neither is set; give one, "),
        (
            ["rollout.top_p=0.9", "rollout.temperature=0.7"],
            "rollout.top_p: 0.9 and rollout.top_k: None need rollout.temperature: 1 (it is 0.7)",
        ),
        (
            ["rollout.top_k=5", "rollout.temperature=0.7"],
            "rollout.top_p: 1 and rollout.top_k: 5 need rollout.temperature: 1 (it is 0.7)",
        ),
        (["rollout.top_k=0"], "rollout.top_k: 0 is not allowed: "),
        (["learner.lr_schedule=step"], "learner.lr_schedule: 'step' is not allowed: "),
        (["learner.min_lr_frac=2"], "learner.min_lr_frac: 2 is not allowed: "),
    ],
)
def test_length_sampling_and_schedule_are_checked(
    recipe: Path, overrides: list[str], message: str
) -> None:
    assert refusal(recipe, *overrides).startswith(message)


def test_epochs_are_resolved_to_steps(recipe: Path) -> None:
    config = load(recipe, "num_steps=null", "num_epochs=1.5", "rollout.tasks_per_step=4")
    assert config.resolved(8).total_steps == 3
    assert config.resolved(9).total_steps == 4  # 13.5 tasks, 4 a step
    assert config.resolved(1).total_steps == 1
    assert config.resolved(8).resolved(None).num_steps == 3  # once is enough
    with pytest.raises(ConfigError, match=r"num_epochs: 1\.5: the tasks are endless"):
        config.resolved(None)


def test_checkpoints_are_kept_by_number_by_score_and_by_step(recipe: Path) -> None:
    held_out = ("eval.tasks={source: toy, num_tasks: 4}", "eval.every_steps=2")
    assert load(recipe).checkpoint.keep == load(recipe, "checkpoint.keep=2").checkpoint.keep
    assert load(recipe, "checkpoint.keep=5").checkpoint.keep.last == 5
    keep = load(recipe, *held_out, "checkpoint.keep={best: 1, every: 100}").checkpoint.keep
    assert (keep.last, keep.best, keep.every) == (2, 1, 100)
    assert load(recipe, "checkpoint.keep.every=3").checkpoint.keep.every == 3


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("0", "checkpoint.keep.last: 0 is not allowed: "),
        ("{last: 0}", "checkpoint.keep.last: 0 is not allowed: "),
        ("all", "checkpoint.keep: 'all' is not allowed: give a number, or {last: 2, best: 1, "),
        ("true", "checkpoint.keep: True is not allowed: give a number, or {last: 2, best: 1, "),
        ("{newest: 2}", "unknown key checkpoint.keep.newest; "),
        ("{best: 1}", "checkpoint.keep.best: the best checkpoints are those with the highest "),
    ],
)
def test_a_wrong_keep_is_one_line(recipe: Path, value: str, line: str) -> None:
    assert refusal(recipe, f"checkpoint.keep={value}").startswith(line)
