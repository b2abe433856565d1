"""Both local tiers, each probed once; a tier that this machine refuses skips with its reason."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sandbox.jobs import Local
from sandbox.tiers import Tier, probe
from sandbox.verdicts import SandboxUnavailable

LOCAL_TIERS = ("namespaces", "landlock")


def tiers_to_test() -> tuple[str, ...]:
    forced = os.environ.get("SANDBOX_TIER")
    return (forced,) if forced in LOCAL_TIERS else LOCAL_TIERS


@pytest.fixture(scope="session", params=tiers_to_test())
def tier(request: pytest.FixtureRequest) -> Iterator[Tier]:
    try:
        found = probe(request.param)
    except SandboxUnavailable as error:
        pytest.skip(f"{request.param}: {error}")
    yield found
    found.close()


@pytest.fixture
def backend(tier: Tier) -> Local:
    assert isinstance(tier.backend, Local)
    return tier.backend
