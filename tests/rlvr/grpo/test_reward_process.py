"""A user's reward functions in a process of their own: every fault is one line with its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import own_rewards
import pytest

from rlvr.grpo.reward_process import RewardFailed, RewardProcess
from rlvr.types import Ungraded

NAMES = (
    "short", "with_columns", "raising", "too_few", "texts", "not_a_number", "no_arguments",
    "positional", "dying", "leaving", "hanging",
)  # fmt: skip
THREE = Ungraded(
    texts=["<answer>5</answer>", "no idea", ""],
    columns=[{"level": 2}] * 3,
    think_prefilled=False,
    prompts=None,
    completion_ids=None,
)
FILE = own_rewards.__file__


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RewardProcess]:
    log = tmp_path_factory.mktemp("run") / "logs" / "preflight.log"
    rewards = {f"own_rewards:{name}": {"weight": 1.0} for name in NAMES}
    with RewardProcess({**rewards, "think_format": {"weight": 1.0}}, log=log) as process:
        yield process


def values(process: RewardProcess, *names: str, deadline_s: float = 60.0) -> list[float | None]:
    results = process.grade(names, THREE, deadline_s=deadline_s)
    return [result.value for result in results]


def failure(process: RewardProcess, name: str) -> str:
    with pytest.raises(RewardFailed) as failed:
        values(process, f"own_rewards:{name}")
    assert "\n" not in str(failed.value)
    return str(failed.value)


def test_rewards_grade_as_in_a_run_and_what_they_print_is_in_the_log(
    process: RewardProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    assert values(process, "own_rewards:short", "think_format") == [1.0, 1.0, 1.0]
    assert values(process, "own_rewards:with_columns") == [2.0, 2.0, 2.0]
    assert "graded 3" in process.log.read_text()
    assert capfd.readouterr() == ("", "")


def test_an_exception_is_named_with_file_and_line_of_the_users_code(
    process: RewardProcess,
) -> None:
    assert failure(process, "raising") == (
        "reward 'own_rewards:raising' failed with TypeError: 'NoneType' object is not "
        f"subscriptable ({FILE}:{own_rewards.RAISING_LINE})"
    )
    assert "Traceback" in process.log.read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("too_few", "returned 2 values for 3 completions"),
        ("texts", "returned '1.0' for completion 0; it must be finite or None"),
        ("not_a_number", "returned nan for completion 0; it must be finite or None"),
        ("positional", "failed with TypeError: positional() missing 1 required positional"),
        ("leaving", "failed with SystemExit: bye"),
    ],
)
def test_what_no_reward_may_do_is_named_with_its_place(
    process: RewardProcess, name: str, said: str
) -> None:
    line = failure(process, name)
    assert line.startswith(f"reward 'own_rewards:{name}' {said}")
    assert f"({FILE}:" in line


def test_a_function_without_arguments_returns_too_few(process: RewardProcess) -> None:
    assert "returned 0 values for 3 completions" in failure(process, "no_arguments")


def test_a_process_that_ends_is_named_and_the_next_call_starts_another(
    process: RewardProcess,
) -> None:
    assert failure(process, "dying") == ("reward 'own_rewards:dying' ended its process (status 3)")
    assert values(process, "own_rewards:short") == [1.0, 1.0, 1.0]


def test_a_reward_that_hangs_is_killed(process: RewardProcess) -> None:
    with pytest.raises(TimeoutError):
        values(process, "own_rewards:hanging", deadline_s=0.1)
    assert values(process, "own_rewards:short") == [1.0, 1.0, 1.0]


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    with RewardProcess({"think_format": {"weight": 1.0}}, log=tmp_path / "log") as process:
        assert values(process, "think_format") == [0.0, 0.0, 0.0]
        pid = process.pid
    assert not os.path.exists(f"/proc/{pid}")
