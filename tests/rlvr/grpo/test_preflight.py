"""The preflight of a recipe with a real tokenizer: what `rlvr grpo --check` says, and how soon."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from model_folders import write_model

from rlvr.cli import main
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.grpo_stage import check_inputs, preflight
from rlvr.run.run_folder import RunFolder

tokenizers = pytest.importorskip("tokenizers")

Recipe = Callable[..., Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without weights worth the name, whose tokenizer has a token for each byte."""
    folder = write_model(tmp_path_factory.mktemp("model"), model_type="qwen3", vocab_size=300)
    vocabulary = {letter: i for i, letter in enumerate(_bytes())} | {"<eos>": 256}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<eos>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _bytes() -> list[str]:
    return sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture
def recipe(model: Path, tmp_path: Path) -> Recipe:
    """Write a recipe of four rows; `sections` replace its own."""

    def write(*, rows: list[dict[str, Any]] | None = None, **sections: Any) -> Path:
        rows = rows or [{"prompt": f"{n}+1?", "answer": n + 1, "level": n} for n in range(4)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        content: dict[str, Any] = {
            "stage": "grpo",
            "name": "run",
            "output_dir": str(tmp_path / "runs"),
            "num_steps": 3,
            "model": {"path": str(model)},
            "prompt": {"template": "Q: {prompt} A:"},
            "tasks": {"source": "jsonl", "path": str(tmp_path / "rows.jsonl")},
            "rewards": {"accuracy": 1.0, "own_rewards:with_columns": 0.1},
            "rollout": {"tasks_per_step": 2, "group_size": 2, "max_prompt_tokens": 24},
        }
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content | sections))
        return tmp_path / "recipe.yaml"

    return write


def refused(capsys: pytest.CaptureFixture[str], path: Path, *arguments: str) -> str:
    """The one line on stderr."""
    assert main(["grpo", str(path), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err.removeprefix("rlvr: ")


def test_a_recipe_without_faults_passes_and_nothing_is_claimed(
    recipe: Recipe, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["grpo", str(recipe()), "--check"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "preflight: tasks: 4 prompts, the longest of 10 tokens (limit 24)",
        "preflight: 4 of 4 gold answers earn full reward",
        "all checks passed; without --check it starts",
    ]
    assert not (tmp_path / "runs" / "run" / "config.yaml").exists()


def test_long_prompts_are_refused_or_left_out_before_the_tasks_are_mixed(
    recipe: Recipe, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [{"prompt": "?" * (12 + n), "answer": "5"} for n in range(8)]  # 18 to 25 tokens
    path = recipe(rows=rows, rewards={"accuracy": 1.0})
    assert "tasks: 1 of 8 prompts exceed rollout.max_prompt_tokens=24" in refused(capsys, path)
    line = refused(capsys, path, "tasks.long_prompts=filter", "rollout.tasks_per_step=8")
    assert line.startswith("rollout.tasks_per_step: 8 is more than the 7 tasks of jsonl")
    data = yaml.safe_load(path.read_text())
    data["tasks"]["long_prompts"] = "filter"
    config = GrpoConfig.model_validate(data)
    inputs = preflight(config, RunFolder(tmp_path / "run"), check_inputs(config))
    assert inputs.tasks.num_tasks == 7
    assert inputs.encoder is not None
    assert len(inputs.encoder.encode(inputs.tasks.task(0))) == 18


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"rewards": {"own_rewards:raising": 1.0}}, "raising' failed with TypeError"),
        ({"prompt": {"template": "chat"}}, "the model's tokenizer has no chat template"),
    ],
)
def test_a_fault_is_one_line(
    recipe: Recipe, capsys: pytest.CaptureFixture[str], sections: dict[str, Any], said: str
) -> None:
    rollout = {"tasks_per_step": 2, "group_size": 2, "max_prompt_tokens": 640}
    assert said in refused(capsys, recipe(rollout=rollout, **sections), "--check")


def test_a_tokenizer_that_cannot_be_read_is_named(
    recipe: Recipe, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    broken = write_model(tmp_path / "broken", model_type="qwen3")
    (broken / "tokenizer_config.json").write_text((model / "tokenizer_config.json").read_text())
    line = refused(capsys, recipe(model={"path": str(broken)}))
    assert line.startswith(f"model.path: no tokenizer of {broken}: ")


def test_neither_torch_nor_ray_is_imported(recipe: Recipe) -> None:
    code = f"""
import json, sys
from rlvr.cli import main
status = main(["grpo", {str(recipe())!r}, "--check"])
print(json.dumps([status, sorted(sys.modules)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert not {"torch", "ray", "vllm", "deepspeed"} & set(modules)


def test_evaluation_prompts_that_also_occur_in_training_are_reported(
    recipe: Recipe, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = str(tmp_path / "rows.jsonl")
    path = recipe(eval={"tasks": {"source": "jsonl", "path": rows, "num_tasks": 2}})
    assert main(["grpo", str(path), "--check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == (
        "preflight: warning: eval.tasks: 2 of 2 prompts also occur in training, e.g. "
        f"{rows}:1 is {rows}:1"
    )
