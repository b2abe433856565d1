"""Known ways to earn a reward without deserving it: each stays at or below what it is worth.

A new one is a line in reward_hacks.jsonl: the reward, the trick in words, a completion, the row's
columns, options, and the most that it may earn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewards import RewardMix

HACKS = [
    json.loads(line)
    for line in Path(__file__).with_name("reward_hacks.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("hack", HACKS, ids=lambda hack: f"{hack['reward']}: {hack['trick']}")
def test_a_known_hack_earns_no_more_than_it_is_worth(hack: dict[str, Any]) -> None:
    mix = RewardMix({hack["reward"]: {"options": hack["options"]}})
    columns = {name: [value] for name, value in hack["columns"].items()}
    [result] = mix.grade([hack["completion"]], columns)
    assert result.value is not None, result.reasons
    assert result.value <= hack["most"], result.reasons
