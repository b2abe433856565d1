"""The examples run or load as they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rewards import RewardMix
from rlvr.config import load_config
from rlvr.data.tasks import open_tasks
from rlvr.grpo.grpo_config import GrpoConfig

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
RECIPES = sorted(EXAMPLES.glob("*/recipe.yaml"))


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("own_reward", "own_tasks"):  # other tests may have modules of these names
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_a_recipe_loads_and_its_rewards_take_their_options(recipe: Path) -> None:
    config = load_config(GrpoConfig, recipe)
    specs = {
        name: {"weight": reward.weight, "options": reward.options}
        for name, reward in config.rewards.items()
    }
    assert tuple(RewardMix(specs).names) == tuple(config.rewards)


def test_the_reward_passes_its_own_test() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "own_reward"]
    done = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_the_task_source_splits_without_overlap() -> None:
    recipe = yaml.safe_load((EXAMPLES / "own_tasks/recipe.yaml").read_text(encoding="utf-8"))
    source = recipe["tasks"]["source"]
    train, heldout = (open_tasks(source, split=split) for split in ("train", "heldout"))
    assert (train.num_tasks, heldout.num_tasks) == (450, 49)
    assert heldout.task(0).columns == {"answer": "20"}
    ids = {train.task(i).id for i in range(450)} | {heldout.task(i).id for i in range(49)}
    assert len(ids) == 499


def test_the_readme_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\w+)\)", text)) == {path.parent.name for path in RECIPES}
