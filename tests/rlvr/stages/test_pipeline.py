"""Plans of chains: folders of steps, their states, and refused recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rlvr.config import load_config
from rlvr.errors import ConfigError
from rlvr.run.manifest import input_digests
from rlvr.run.run_folder import write_json
from rlvr.stages.pipeline.pipeline_command import (
    Step,
    StepState,
    plan_text,
    planned_steps,
    state_of,
)
from rlvr.stages.pipeline.pipeline_config import AblateConfig, ChainConfig

ROOT = Path(__file__).parents[3]
SFT = {"stage": "sft", "name": "cold", "model": "toy", "data": "rows.jsonl"}
SAMPLE = {
    "stage": "sample",
    "name": "data",
    "model": {"path": "x"},
    "tasks": {"source": "toy", "num_tasks": 4},
    "rewards": {"accuracy": 1.0},
}


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    for name, recipe in (("sft", SFT), ("sample", SAMPLE)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return tmp_path


def chain_of(recipes: Path, *steps: dict[str, object], **keys: object) -> list[Step]:
    recipe = recipes / "chain.yaml"
    values = {"stage": "r1", "name": "chain", "output_dir": str(recipes / "runs"), **keys}
    recipe.write_text(yaml.safe_dump({**values, "steps": list(steps)}), encoding="utf-8")
    return planned_steps(load_config(ChainConfig, recipe))


def two_steps(recipes: Path, **keys: object) -> list[Step]:
    return chain_of(
        recipes,
        {"name": "cold", "run": "sft", "recipe": str(recipes / "sft.yaml")},
        {
            "name": "data",
            "run": "sample",
            "recipe": str(recipes / "sample.yaml"),
            "set": {"model.path": "{cold}/model"},
        },
        **keys,
    )


def finish(step: Step, **inputs: str) -> None:
    """Write the files of a finished stage."""
    folder = step.folder
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_config(step.config)
    write_json(folder.manifest, {"inputs": input_digests(inputs)})
    write_json(folder.summary, {})


def test_a_step_reads_the_folder_of_an_earlier_one(recipes: Path) -> None:
    cold, data = two_steps(recipes)
    assert cold.config.run_dir == recipes / "runs" / "cold"
    assert f'model.path="{recipes}/runs/cold/model"' in data.overrides
    assert data.config.model.path == f"{recipes}/runs/cold/model"  # type: ignore[attr-defined]


def test_the_seed_is_that_of_the_chain(recipes: Path) -> None:
    assert [step.config.seed for step in two_steps(recipes, seed=7)] == [7, 7]


def test_states_go_from_missing_through_interrupted_to_done(recipes: Path) -> None:
    cold, data = two_steps(recipes)
    assert state_of(cold)[0] is StepState.MISSING
    cold.folder.path.mkdir(parents=True)
    cold.folder.write_config(cold.config)
    assert state_of(cold)[0] is StepState.INTERRUPTED
    finish(cold)
    assert [state_of(step)[0] for step in (cold, data)] == [StepState.DONE, StepState.MISSING]


def test_another_config_makes_a_step_stale(recipes: Path) -> None:
    cold, _ = two_steps(recipes)
    finish(cold)
    changed, _ = two_steps(recipes, seed=1)
    assert state_of(changed) == (StepState.STALE, "seed was 0 and is 1")


def test_a_changed_free_key_resumes_the_step(recipes: Path) -> None:
    _, data = two_steps(recipes)
    finish(data)
    step = {
        "name": "data",
        "run": "sample",
        "recipe": str(recipes / "sample.yaml"),
        "set": {"model.path": data.config.model.path, "keep.per_task": 1},  # type: ignore[attr-defined]
    }
    (changed,) = chain_of(recipes, step)
    assert state_of(changed) == (StepState.INTERRUPTED, "keep.per_task was None and is 1")


def test_an_input_that_changed_makes_a_step_stale(recipes: Path) -> None:
    rows = recipes / "rows.jsonl"
    rows.write_text("{}\n", encoding="utf-8")
    cold, _ = two_steps(recipes)
    finish(cold, data=str(rows))
    assert state_of(cold)[0] is StepState.DONE
    rows.write_text('{"text": "x"}\n', encoding="utf-8")
    assert state_of(cold) == (StepState.STALE, "data has changed")


def test_another_teacher_makes_the_step_stale(recipes: Path) -> None:
    cold, _ = two_steps(recipes)
    finish(cold)
    model = recipes / "teacher"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    write_json(cold.teacher_file, {"inputs": input_digests({"teacher.model": str(model)})})
    assert state_of(cold)[0] is StepState.DONE
    (model / "config.json").write_text('{"a": 1}', encoding="utf-8")
    assert state_of(cold) == (StepState.STALE, "the teacher has changed")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"set": {"model": "{zero}/model"}}, "steps.cold: {zero} is no earlier step"),
        ({"set": {"modle": "x"}}, "unknown key modle; did you mean model?"),
        ({"recipe": "none.yaml"}, "none.yaml: no such recipe"),
        ({"run": "train"}, "steps.0.run: 'train' is not allowed"),
        ({"teacher": {"model": "x"}}, "step cold: a teacher is for run: distill"),
    ],
)
def test_a_wrong_chain_is_refused(recipes: Path, change: dict[str, object], line: str) -> None:
    step = {"name": "cold", "run": "sft", "recipe": str(recipes / "sft.yaml"), **change}
    with pytest.raises(ConfigError) as refused:
        chain_of(recipes, step)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_steps_in_one_folder_are_refused(recipes: Path) -> None:
    step = {"run": "sft", "recipe": str(recipes / "sft.yaml")}
    with pytest.raises(ConfigError, match="is that of another step"):
        chain_of(recipes, {"name": "a", **step}, {"name": "b", **step})
    with pytest.raises(ConfigError, match="two steps are called a"):
        chain_of(recipes, {"name": "a", **step}, {"name": "a", **step})


def test_values_keep_their_types(recipes: Path) -> None:
    values = {"lr": 1e-4, "data": [{"path": "{a}/kept.jsonl", "num_rows": 3}]}
    first = {"name": "a", "run": "sft", "recipe": str(recipes / "sft.yaml")}
    _, second = chain_of(recipes, first, {**first, "name": "b", "set": {"name": "b", **values}})
    data = f"{recipes}/runs/cold/kept.jsonl"
    assert second.config.data[0].path == data  # type: ignore[attr-defined]
    assert second.config.lr == 1e-4  # type: ignore[attr-defined]


def test_only_selects_steps_and_their_dependencies(recipes: Path) -> None:
    sft = {"run": "sft", "recipe": str(recipes / "sft.yaml")}
    steps = [
        {**sft, "name": "a"},
        {**sft, "name": "b", "set": {"name": "b", "model": "{a}/model"}},
        {**sft, "name": "c", "set": {"name": "c", "data": [{"path": "{a}/kept.jsonl"}]}},
        {**sft, "name": "d", "set": {"name": "d"}},
    ]
    assert [step.name for step in chain_of(recipes, *steps, only=["c"])] == ["a", "c"]
    assert [step.name for step in chain_of(recipes, *steps, only=["b", "d"])] == ["a", "b", "d"]
    with pytest.raises(ConfigError, match="only: no step 'e'; there are a, b, c, d"):
        chain_of(recipes, *steps, only=["e"])


def test_a_plan_marks_the_next_step(recipes: Path) -> None:
    steps = two_steps(recipes)
    finish(steps[0])
    first, second = plan_text(steps).splitlines()
    assert first.split() == ["cold", "done", "sft", str(steps[0].config.run_dir)]
    assert second.split() == ["data", "missing,", "next", "sample", str(steps[1].config.run_dir)]


CHAINS = [
    path
    for path in sorted((ROOT / "recipes").rglob("*.yaml"))
    if yaml.safe_load(path.read_text(encoding="utf-8")).get("stage") in ("r1", "ablate")
]


@pytest.mark.parametrize("path", CHAINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_chain_in_recipes_can_be_planned(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    stage = yaml.safe_load(path.read_text(encoding="utf-8"))["stage"]
    schema = {"r1": ChainConfig, "ablate": AblateConfig}[stage]
    steps = planned_steps(load_config(schema, path, [f"output_dir={tmp_path}"]))
    assert {state_of(step)[0] for step in steps} == {StepState.MISSING}
    assert all(step.config.run_dir.is_relative_to(tmp_path) for step in steps)
