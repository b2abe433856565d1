"""The command `rlvr`. Heavy imports come after all checks of what the user typed."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Sequence

from rlvr.errors import RLVRError, Stopped

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 done, 2 the user's input was wrong, 1 anything else."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments[:2]) == ["reward", "test"]:
        from rewards.trial import main as try_rewards

        return try_rewards(arguments[2:])
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until a stage sets its own
    try:
        return int(options.command(options.recipe, options.overrides))
    except Stopped as stopped:
        print(_how_to_go_on(stopped.step), file=sys.stderr)
        return stopped.exit_status
    except KeyboardInterrupt:
        print(_how_to_go_on(None), file=sys.stderr)
        return 1
    except RLVRError as error:
        print(f"rlvr: {error}", file=sys.stderr)
        return error.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlvr",
        description="Reinforcement learning with verifiable rewards, in the manner of DeepSeek-R1.",
        epilog="A recipe is a YAML file; its keys are overridden as in "
        "`rlvr grpo recipes/toy/zero.yaml seed=1 learner.lr=1e-4`.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(
        commands,
        "grpo",
        _grpo,
        "train by GRPO on Ray, vLLM and DeepSpeed; goes on where it was interrupted",
    )
    _add(commands, "sft", _sft, "train on text: the toy base model, a cold start")
    text = "`rlvr reward test FILE`: values and reasons for completions in a file"
    of_reward = commands.add_parser("reward", help=text, description=text)
    of_reward.add_subparsers(required=True, metavar="test").add_parser("test")  # see main
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[str, Sequence[str]], int],
    text: str,
) -> None:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("recipe", metavar="RECIPE", help="YAML file")
    parser.add_argument(
        "overrides", metavar="section.key=value", nargs="*", help="instead of the recipe's value"
    )
    parser.set_defaults(command=command)


def _grpo(recipe: str, overrides: Sequence[str]) -> int:
    from rlvr.config import GrpoConfig, load_config
    from rlvr.environment import check_environment
    from rlvr.inputs import check_inputs
    from rlvr.run_folder import RunFolder, RunStatus, read_json
    from rlvr.summary import closing_text

    config = load_config(GrpoConfig, recipe, overrides)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        inputs = check_inputs(config)
        if folder.claim(config) is RunStatus.FINISHED:
            print(closing_text(folder, read_json(folder.summary), recipe=recipe))
            print(
                f"\nThis run is finished. To start anew: another name=..., or delete {folder.path}"
            )
            return 0
        check_environment()
        from rlvr.launch import run_grpo

        summary = run_grpo(config, folder, inputs)
        print(closing_text(folder, summary, recipe=recipe))
    return 0


def _sft(recipe: str, overrides: Sequence[str]) -> int:
    from rlvr.config import SftConfig, load_config
    from rlvr.environment import check_environment
    from rlvr.run_folder import RunFolder, RunStatus
    from rlvr.stages.sft import check_data, run_sft

    config = load_config(SftConfig, recipe, overrides)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        check_data(config)
        check_environment()
        if folder.claim(config) is RunStatus.FINISHED:
            print(f"{folder.model} is there; to make it anew, delete {folder.path}")
            return 0
        run_sft(config, folder)
    return 0


def _how_to_go_on(step: int | None) -> str:
    if step is None:
        return "stopped; the same command goes on from the last checkpoint, or starts again"
    if step == 0:
        return "stopped before the first step was done; the same command starts again"
    return (
        f"stopped after step {step}, which is in a checkpoint; the same command goes on from there"
    )
