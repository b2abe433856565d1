"""Attacks on the sandbox and the supervisor have no effect."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import ATTACKS, Attack
from attempts import Targets, missing_tool, targets, try_attack

from sandbox.jobs import Local
from sandbox.tiers import Tier

HERE = Path(__file__).parent
NOBODY = 65534
NAMES = [attack.name for attack in ATTACKS]
PARAMETERS = [pytest.param(attack, id=attack.name) for attack in ATTACKS]

pytestmark = pytest.mark.slow  # programs are run


@pytest.fixture(scope="module")
def aims() -> Iterator[Targets]:
    with targets() as made:
        yield made


@pytest.mark.parametrize("attack", PARAMETERS)
def test_an_attack_gets_nowhere(attack: Attack, tier: Tier, backend: Local, aims: Targets) -> None:
    if tier.name not in attack.tiers:
        pytest.skip(f"{attack.name} needs what the tier {tier.name} does not offer")
    if tool := missing_tool(attack.language):
        pytest.skip(f"{tool} is not installed")
    try_attack(backend, attack, aims)


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_both_tables_hold_for_an_unprivileged_user(tier: Tier) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    python = _python_for_everybody()
    if python is None:
        pytest.skip("no python of 3.11 or later that another user may run")
    with tempfile.TemporaryDirectory() as folder:
        tried = _tried_as_nobody(python, Path(folder), tier.name)
    assert tried.returncode == 0, tried.stdout[-4000:] + tried.stderr[-2000:]
    assert f"as user {NOBODY}, 0 failed" in tried.stdout


def _tried_as_nobody(python: str, folder: Path, tier: str) -> subprocess.CompletedProcess[str]:
    folder.chmod(0o755)
    shutil.copytree(HERE.parents[1] / "sandbox", folder / "sandbox")
    (folder / "tests/sandbox").mkdir(parents=True)
    for name in ("attacks.py", "attempts.py", "honest.py"):
        shutil.copy(HERE / name, folder / "tests/sandbox")
    return subprocess.run(
        [python, "-B", "tests/sandbox/attempts.py", "--quick", tier],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": "/nonexistent"},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=300,
    )


def _python_for_everybody() -> str | None:
    check = "import sys, sqlite3; sys.exit(sys.version_info < (3, 11))"
    for minor in (11, 12, 13):
        for folder in ("/usr/bin", "/usr/local/bin", os.path.dirname(sys.executable)):
            path = f"{folder}/python3.{minor}"
            if not os.path.exists(path):
                continue
            try:
                ran = subprocess.run([path, "-c", check], user=NOBODY, group=NOBODY, cwd="/")
            except OSError:
                continue
            if ran.returncode == 0:
                return path
    return None
