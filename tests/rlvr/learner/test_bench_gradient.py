"""The check before every comparison of speed: TRL and this trainer compute the same gradient."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from rlvr.errors import CheckError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TRL warns at import: of this vLLM, of its own dependencies
    from bench.gradient import compare_gradients
    from bench.wide_model import make_wide_model
    from bench.workload import Workload, coin

RECIPE = Path(__file__).resolve().parents[3] / "bench" / "wide.yaml"

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    folder = tmp_path_factory.mktemp("wide")
    sizes = {"hidden_size": 64, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1}
    make_wide_model(folder, mean_tokens=10.0, **sizes)
    overrides = (f"model.path={folder}", "rollout.group_size=4", "rollout.max_tokens=40")
    return Workload("wide", RECIPE, overrides)


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
def test_gradient_is_that_of_trl(workload: Workload, loss: str) -> None:
    with_loss = replace(workload, overrides=(*workload.overrides, f"loss.name={loss}"))
    comparison = compare_gradients(with_loss, num_tasks=4)
    comparison.check()
    assert comparison.num_completions == 16
    assert comparison.clip_frac > 0.05  # ratios are not all 1, so the clips are compared too
    assert comparison.loss_ours == pytest.approx(comparison.loss_trl, rel=1e-4)
    assert comparison.max_advantage_error < 1e-5


@pytest.mark.parametrize("change", ["loss.clip_high=0.1", "rollout.temperature=0.9"])
def test_comparison_stops_where_the_gradients_differ(workload: Workload, change: str) -> None:
    ours = replace(workload, overrides=(*workload.overrides, change))
    comparison = compare_gradients(workload, num_tasks=4, ours=ours)
    with pytest.raises(CheckError, match="compute different gradients: relative error"):
        comparison.check()


def test_coin_rewards_an_even_number_of_characters() -> None:
    assert coin(["", "a", "ab", "a b"]) == [1.0, 0.0, 1.0, 0.0]
