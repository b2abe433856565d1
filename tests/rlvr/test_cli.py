"""The command line: exit status, one-line errors, and no heavy imports."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from model_folders import write_model

from rlvr.cli import main
from rlvr.run.run_folder import RunFolder, write_json

RLVR = [sys.executable, "-c", "import sys; from rlvr.cli import main; sys.exit(main())"]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe whose model passes every check before it is loaded."""
    model = write_model(tmp_path / "model")
    path = tmp_path / "recipe.yaml"
    content = {
        "stage": "grpo",
        "name": "run",
        "output_dir": str(tmp_path / "runs"),
        "num_steps": 3,
        "model": {"path": str(model)},
        "tasks": {"source": "toy"},
        "rewards": {"accuracy": 1.0},
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 2) -> str:
    """The one line on stderr."""
    assert main([str(argument) for argument in arguments]) == status
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def test_a_wrong_recipe_is_refused_before_any_heavy_import(recipe: Path) -> None:
    code = f"""
import json, sys
from rlvr.cli import main
statuses = [
    main(["grpo", {str(recipe)!r}, "rolout.max_tokens=3"]),
    main(["grpo", {str(recipe)!r}, "model.path=/none"]),
    main(["grpo", {str(recipe)!r}, "tasks.source=jsonl", "tasks.path=/none.jsonl"]),
]
print(json.dumps([statuses, sorted(sys.modules)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    statuses, modules = json.loads(done.stdout)
    assert statuses == [2, 2, 2]
    assert done.stderr.count("\n") == 3
    heavy = {"torch", "ray", "vllm", "deepspeed", "transformers", "datasets", "rlvr.grpo.launch"}
    assert not heavy & set(modules)


def test_a_mistake_is_one_line_and_status_2(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "did you mean rollout?" in refused(capsys, "grpo", recipe, "rolout.max_tokens=3")
    assert "no such recipe" in refused(capsys, "grpo", recipe.parent / "none.yaml")
    assert "stage is 'grpo'" in refused(capsys, "sft", recipe)


def test_a_folder_of_another_config_is_refused(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(recipe.parent / "runs" / "run")
    folder.path.mkdir(parents=True)
    folder.config.write_text("num_steps: 7\n", encoding="utf-8")
    folder.rollouts.mkdir()
    (folder.rollouts / "step_000001.parquet").write_text("some work", encoding="utf-8")
    assert "made from another config: " in refused(capsys, "grpo", recipe)


def test_a_folder_that_is_held_is_refused(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(recipe.parent / "runs" / "run").locked():
        assert "is running here" in refused(capsys, "grpo", recipe)


def test_a_finished_run_prints_its_table_and_how_to_start_over(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rlvr.config import load_config
    from rlvr.grpo.grpo_config import GrpoConfig

    config = load_config(GrpoConfig, recipe)
    folder = RunFolder(config.run_dir)
    folder.path.mkdir(parents=True)
    folder.write_config(config)
    summary = {"before": None, "after": None, "num_steps": 3, "wall_s": 12.0}
    write_json(folder.summary, summary)
    assert main(["grpo", str(recipe)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("3 steps in 12 s")
    assert "To start over: another name=..., or delete" in out


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rlvr {version('rlvr')}\n"


def test_a_missing_extra_is_one_line_that_says_how_to_install_it() -> None:
    code = """
import sys
sys.modules["pydantic"] = sys.modules["yaml"] = None  # as if they were not installed
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in ("pydantic", "yaml") else real(name)
from rlvr.cli import main
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run([*command, "grpo", "recipe.yaml"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "rlvr: pydantic, yaml are not installed; rlvr grpo needs the extra `train`: run `make "
        "setup` in the repository, or `pip install '.[train]'` and then the torch and vLLM of this "
        "machine\n"
    )
    for option in ("--help", "--version"):
        subprocess.run([*command, option], capture_output=True, check=True)


def test_overrides_may_stand_behind_an_option(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "grpo", recipe, "--check", "rolout.max_tokens=3")
    assert "did you mean rollout?" in line
    with pytest.raises(SystemExit):
        main(["grpo", str(recipe), "--check", "nonsense"])
    assert "unrecognized arguments: nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["grpo"], ["gropo", "recipe.yaml"]])
def test_an_unknown_command_ends_with_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: rlvr" in capsys.readouterr().err
