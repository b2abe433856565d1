"""The order of the packages, unique names, and what an import loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rewards", "rlvr", "sandbox")
HEAVY = {"torch", "ray", "vllm", "deepspeed", "transformers", "datasets"}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
FLOORS = [  # from the ground up: a package imports only from packages before it
    "sandbox",
    "rewards",
    "rlvr.errors",
    "rlvr.types",
    "rlvr.config",
    "rlvr.cluster",
    "rlvr.run",
    "rlvr.data",
    "rlvr.report",
    "rlvr.reward_models",
    "rlvr.toy",
    "rlvr.teacher",
    "rlvr.weight_sync",
    "rlvr.learner",
    "rlvr.rollout",
    "rlvr.grpo",
    "rlvr.evaluation",
    "rlvr.serving",
    "rlvr.stages",
    "rlvr.stages.sft",
    "rlvr.stages.sample",
    "rlvr.stages.distill",
    "rlvr.stages.clean",
    "rlvr.stages.export",
    "rlvr.stages.profile",
    "rlvr.stages.replay",
    "rlvr.stages.pipeline",
    "rlvr.cli",
    "rlvr.__main__",
]
LIGHT = [  # in this order: each must not load anything heavy either
    "sandbox",
    "rewards",
    "rlvr.errors",
    "rlvr.types",
    *sorted(m for m in FILES if m.startswith(("rlvr.config", "rlvr.data", "rlvr.report"))),
    "rlvr.teacher",
    "rlvr.grpo.advantages",
    "rlvr.grpo.rollout_buffer",
    "rlvr.grpo.batching",
    "rlvr.grpo.engines_alone",
    "rlvr.grpo.learner_alone",
    "rlvr.grpo.loop",
    "rlvr.grpo.held_out_eval",
    "rlvr.grpo.checks",
    "rlvr.grpo.preflight",
    "rlvr.grpo.run_logger",
    "rlvr.grpo.run_summary",
    "rlvr.evaluation.suite_metrics",
    "rlvr.evaluation.suites",
    "rlvr.evaluation.eval_report",
    *sorted(m for m in FILES if m.endswith(("_config", "_stage", "_command"))),
    "rlvr.reward_models.preference_reward",
    "rlvr.cli",
]


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


@cache
def imported(module: str) -> set[str]:
    """Names of the modules that a module imports, also inside of functions."""
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            source = node.module or ""
            below = {f"{source}.{alias.name}" for alias in node.names}
            found |= {source} | {name for name in below if name in FILES}
    return found


def floor_of(module: str) -> str | None:
    """The deepest floor that holds the module; None for `rlvr` itself."""
    found = [floor for floor in FLOORS if f"{module}.".startswith(f"{floor}.")]
    return max(found, key=len, default=None)


def importers_of(prefix: str) -> set[str]:
    return {
        module
        for module in FILES
        if any(name == prefix or name.startswith(f"{prefix}.") for name in imported(module))
    }


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def all_of(module: str) -> list[str] | None:
    for node in tree_of(module).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def ruff_order(name: str) -> tuple[int, str]:
    """RUF022: constants, then classes, then the rest."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


EXPORTING = sorted(module for module in FILES if all_of(module) is not None)


def test_imports_go_one_way() -> None:
    for module in FILES:
        package, names = module.partition(".")[0], roots(imported(module))
        if package == "sandbox":
            assert not names & {"rewards", "rlvr"}, module
        if package == "rewards":
            assert "rlvr" not in names, module
        if package in ("rewards", "sandbox"):
            assert not names & HEAVY, module


@pytest.mark.parametrize("module", sorted(FILES))
def test_no_module_imports_from_a_floor_above(module: str) -> None:
    """Since the floors are a list, packages do not import each other in a circle either."""
    if module == "rlvr":
        assert not imported(module) & set(FILES)
        return
    floor = floor_of(module)
    assert floor is not None, f"{module} has no place in FLOORS"
    below = FLOORS[: FLOORS.index(floor) + 1]
    above = {name for name in imported(module) & set(FILES) if floor_of(name) not in below}
    assert not above


def test_every_floor_exists() -> None:
    assert not set(FLOORS) - set(FILES)


def test_no_two_modules_share_a_file_name() -> None:
    names = Counter(path.name for path in FILES.values())
    assert not {name for name, count in names.items() if count > 1} - {"__init__.py", "__main__.py"}


def test_no_two_classes_share_a_name() -> None:
    modules: dict[str, list[str]] = {}
    for module in FILES:
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.ClassDef):
                modules.setdefault(node.name, []).append(module)
    assert not {name: where for name, where in modules.items() if len(where) > 1}


def test_few_modules_are_at_the_top() -> None:
    assert len(list((ROOT / "rlvr").glob("*.py"))) <= 10


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_module_has_a_docstring(module: str) -> None:
    text = ast.get_docstring(tree_of(module))
    assert text and "TODO" not in text


def test_the_sandbox_needs_the_standard_library_only() -> None:
    for module in FILES:
        if module.startswith("sandbox"):
            assert roots(imported(module)) <= sys.stdlib_module_names | {"sandbox"}, module


def test_only_the_command_line_imports_launch() -> None:
    commands = {"rlvr.grpo.grpo_stage", "rlvr.stages.profile.profile_run"}
    assert importers_of("rlvr.grpo.launch") == commands


def test_engine_and_learner_do_not_import_each_other() -> None:
    assert not [m for m in importers_of("rlvr.learner") if m.startswith("rlvr.rollout")]
    assert not [m for m in importers_of("rlvr.rollout") if m.startswith("rlvr.learner")]


@pytest.mark.parametrize(
    "module",
    ["rlvr.grpo.loop", "rlvr.grpo.held_out_eval", "rlvr.grpo.rollouts", "rlvr.grpo.checks"],
)
def test_the_controller_sees_types_and_protocols_only(module: str) -> None:
    assert not roots(imported(module)) & HEAVY
    assert not [name for name in imported(module) if name.startswith("rlvr.learner")]


@pytest.mark.parametrize(
    ("package", "owners"),
    [
        ("vllm", {"rlvr.rollout", "rlvr.serving.think_parser"}),
        ("deepspeed", {"rlvr.learner"}),
    ],
)
def test_each_engine_is_called_from_one_place(package: str, owners: set[str]) -> None:
    outside = {m for m in importers_of(package) if not any(m.startswith(o) for o in owners)}
    assert not outside


def test_an_import_loads_nothing_heavy() -> None:
    """Including indirect imports: a fresh interpreter lists its modules after each."""
    code = """import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(name, json.dumps(sorted({module.partition(".")[0] for module in sys.modules})))
"""
    command = [sys.executable, "-c", code, *LIGHT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    loaded = {
        line.partition(" ")[0]: set(json.loads(line.partition(" ")[2]))
        for line in done.stdout.splitlines()
    }
    assert list(loaded) == LIGHT  # and no import printed anything
    assert done.stderr == ""
    for module, packages in loaded.items():
        assert not packages & HEAVY, module
    assert not loaded["sandbox"] & {"rewards", "rlvr", "numpy"}
    assert "rlvr" not in loaded["rewards"]


def test_no_module_is_named_like_what_it_exports() -> None:
    """`rewards/accuracy.py` with a function accuracy would break `import rewards.accuracy`."""
    for module in EXPORTING:
        assert module.rpartition(".")[2] not in (all_of(module) or []), module
        package_names = set(all_of(module) or []) if FILES[module].name == "__init__.py" else set()
        clashes = {name for name in package_names if f"{module}.{name}" in FILES}
        assert not clashes, f"{module} exports {clashes} and has modules of these names"


@pytest.mark.parametrize("module", EXPORTING)
def test_exported_names_are_sorted(module: str) -> None:
    names = all_of(module) or []
    assert names == sorted(names, key=ruff_order)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("module", EXPORTING)
def test_exported_names_exist(module: str) -> None:
    """Read from the code, since some modules can be imported only beside torch and vLLM."""
    defined: set[str] = set()
    for node in tree_of(module).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                defined.add(node.name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                defined.add(name)
            case ast.ImportFrom():
                defined |= {alias.asname or alias.name for alias in node.names}
    assert set(all_of(module) or []) <= defined


def test_what_others_import_is_exported() -> None:
    for module in FILES:
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.ImportFrom) and node.module in EXPORTING:
                names = {alias.name for alias in node.names}
                private = names - set(all_of(node.module) or [])
                private -= {name for name in private if f"{node.module}.{name}" in FILES}
                assert not private, f"{module} imports {private} from {node.module}"
