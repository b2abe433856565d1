"""Honest programs get their verdict; a sandbox that refuses everything fails."""

from __future__ import annotations

import pytest
from attempts import is_slow, missing_tool, try_honest
from honest import HONEST, Honest

from sandbox import Verdict
from sandbox.jobs import Local
from sandbox.tiers import Tier

NAMES = [program.name for program in HONEST]
PARAMETERS = [
    pytest.param(program, id=program.name, marks=[pytest.mark.slow] if is_slow(program) else [])
    for program in HONEST
]


@pytest.mark.parametrize("program", PARAMETERS)
def test_an_honest_program_gets_its_verdict(program: Honest, tier: Tier, backend: Local) -> None:
    if tool := missing_tool(program.language):
        pytest.skip(f"{tool} is not installed")
    try_honest(backend, program, tier=tier.name)


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_a_sandbox_that_refuses_everything_would_fail() -> None:
    """And so would one that accepts everything."""
    accepted = sum(program.right is Verdict.ACCEPTED for program in HONEST)
    assert accepted >= 40
    assert len(HONEST) - accepted >= 15
