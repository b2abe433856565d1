"""A supervised run that is continued with other values: its length, and its learning rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.run.run_folder import RunFolder, write_json
from rlvr.stages.sft.resumed_lr import set_peak_lrs
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_plan import SftPlan, make_plan
from rlvr.stages.sft.sft_stage import STAGE


def plan_of(output_dir: Path, **keys: Any) -> SftPlan:
    values = {"name": "s", "model": "toy", "data": "toy_text", "num_rows": 9, **keys}
    return make_plan(SftConfig(output_dir=str(output_dir), **values), is_cpu=True)


@pytest.mark.parametrize(
    ("keys", "key", "total"),
    [
        ({}, "num_epochs", 25),  # the default is one epoch
        ({"num_epochs": 2}, "num_epochs", 50),
        ({"num_epochs": 0.5}, "num_epochs", 13),
        ({"max_steps": 40}, "max_steps", 40),
    ],
)
def test_the_steps_of_the_whole_run_follow_from_those_of_its_checkpoint(
    tmp_path: Path, keys: dict[str, Any], key: str, total: int
) -> None:
    plan = plan_of(tmp_path, **keys)
    folder = RunFolder(plan.config.run_dir)
    checkpoint = folder.checkpoints / "checkpoint-10"
    write_json(checkpoint / "trainer_state.json", {"global_step": 10, "epoch": 0.4})
    (checkpoint / "whole").touch()
    assert STAGE.trained is not None
    trained = STAGE.trained(plan.config, plan, folder)
    assert (trained.step, trained.total, trained.key) == (10, total, key)
    assert trained.start_key == "resume_from"


def test_without_a_checkpoint_no_step_is_trained(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, num_epochs=0.5)
    assert STAGE.trained is not None
    assert STAGE.trained(plan.config, plan, RunFolder(tmp_path)).step == 0


def made(*peaks: float, num_steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """An optimizer with a group for each peak, which decays to 0 in `num_steps`."""
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": peak} for peak in peaks]
    optimizer = torch.optim.SGD(groups)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - t / num_steps)


def taken(optimizer: torch.optim.Optimizer, scheduler: Any, num_steps: int) -> list[list[float]]:
    """The rates of each step."""
    rates = []
    for _ in range(num_steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


def resumed(before: Any, *peaks: float, num_steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """A new optimizer and scheduler with the state of those `before`, as of a checkpoint."""
    optimizer, scheduler = made(*peaks, num_steps=num_steps)
    optimizer.load_state_dict(before[0].state_dict())
    scheduler.load_state_dict(before[1].state_dict())
    set_peak_lrs(optimizer, scheduler, first=peaks[0], others=peaks[-1])
    return optimizer, scheduler


def test_unchanged_values_give_the_rates_of_an_uninterrupted_run() -> None:
    whole = taken(*made(0.3, 0.1, num_steps=7), 7)
    first = made(0.3, 0.1, num_steps=7)
    assert taken(*first, 3) + taken(*resumed(first, 0.3, 0.1, num_steps=7), 4) == whole


def test_another_peak_and_another_length_apply_from_the_next_step_on() -> None:
    first = made(8.0, 4.0, num_steps=4)
    taken(*first, 2)
    rates = taken(*resumed(first, 16.0, 2.0, num_steps=8), 3)
    assert rates == [[12.0, 1.5], [10.0, 1.25], [8.0, 1.0]]
