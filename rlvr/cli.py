"""The command `rlvr`. Imports nothing heavy before the user's input is checked.

At its top it imports the standard library only: help, version and the message that names a missing
extra need no other package.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from rlvr.cluster.processes import check_extra
from rlvr.errors import RLVRError, Stopped

__all__ = ["main", "run"]

COMMANDS = {
    "grpo": "train with GRPO on Ray, vLLM and DeepSpeed; resumes an interrupted run",
    "sft": "supervised fine-tuning, pretraining or reward model training",
    "sample": "rejection sampling: generate, verify, filter",
    "distill": "collect, score and filter replies of a teacher behind an API",
    "clean": "filter, tag and rewrite rows of reasoning data, with a reason for each dropped row",
    "r1": "the R1 pipeline: cold start, RL, rejection sampling, SFT, RL, distillation",
    "ablate": "compare base, pure RL, SFT, and SFT then RL, from one base with one evaluation",
    "eval": "evaluate a model: pass@1, pass@k, majority votes, lengths, languages, cost",
    "compare": "compare evaluations in one Markdown and HTML report, samples side by side",
    "profile": "trace one step of a GRPO recipe: a track for each actor, and where the time goes",
    "replay": "train the stored batch of a GRPO step again, by the learner alone, and compare",
    "export": "merge adapters, save the model with a model card, push it to the hub",
    "serve": "serve a model behind an OpenAI-compatible API, reasoning apart from the answer",
    "chat": "chat with a model; RECIPE is its folder or the URL of a server",
}

# commands that are not stages: module:function(recipe, overrides) -> exit status
OTHER_COMMANDS = {
    "r1": "rlvr.stages.pipeline.pipeline_command:run_r1",
    "ablate": "rlvr.stages.pipeline.pipeline_command:run_ablate",
    "serve": "rlvr.serving.serve_command:run_serve",
    "chat": "rlvr.serving.chat_command:run_chat",
}


def run() -> NoReturn:
    """Run the command and end the process; the program `rlvr`."""
    status = main()
    from rlvr.cluster.signals import exit_process

    exit_process(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 for done, 2 for wrong user input, 1 for any other failure."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments[:2]) == ["reward", "test"]:
        from rewards.__main__ import main as try_rewards

        return try_rewards(arguments[2:])
    if list(arguments) == ["--version"]:
        print(f"rlvr {_version()}")
        return 0
    options = _parsed(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until a stage sets its own
    try:
        check_extra(options.command)
        if options.command not in OTHER_COMMANDS:
            return _run_stage(options)
        module, _, function = OTHER_COMMANDS[options.command].partition(":")
        run = getattr(importlib.import_module(module), function)
        return int(run(options.recipe, options.overrides))
    except Stopped as stopped:
        print(_stop_message(stopped.step), file=sys.stderr)
        return stopped.exit_status
    except KeyboardInterrupt:
        print(_stop_message(None), file=sys.stderr)
        return 1
    except RLVRError as error:
        print(f"rlvr: {error}", file=sys.stderr)
        return error.exit_status


def _run_stage(options: argparse.Namespace) -> int:
    from rlvr.run.stage_protocol import load_stage, run_stage

    stage = load_stage(options.command)
    recipe, overrides = options.recipe, options.overrides
    if options.command == "replay":  # its recipe is that of a run
        from rlvr.stages.replay.replay_stage import recipe_of

        recipe, overrides = recipe_of(recipe, options.step, overrides)
    return run_stage(stage, recipe, overrides, check_only=options.check)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rlvr")
    except PackageNotFoundError:
        return "(not installed: run from its source)"


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; overrides may also stand behind an option."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if unknown := [one for one in rest if one.startswith("-") or "=" not in one]:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        options.overrides += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlvr",
        description="Reinforcement learning with verifiable rewards, after DeepSeek-R1.",
        epilog="A recipe is a YAML file; override its keys like this: "
        "`rlvr grpo recipes/toy/zero.yaml seed=1 learner.lr=1e-4`.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "replay":
            command.add_argument("recipe", metavar="RUN", help="folder of a GRPO run")
            command.add_argument("step", metavar="STEP", type=int, help="step of the run")
        else:
            command.add_argument("recipe", metavar="RECIPE", help="YAML file")
        command.add_argument(
            "overrides", metavar="section.key=value", nargs="*", help="overrides of the recipe"
        )
        if name not in OTHER_COMMANDS:
            text = "check everything that can be known before the start, then stop"
            command.add_argument("--check", action="store_true", help=text)
        command.set_defaults(command=name)
    text = "`rlvr reward test FILE`: grade the completions in a file, with reasons"
    reward = commands.add_parser("reward", help=text, description=text)
    reward.add_subparsers(required=True, metavar="test").add_parser("test")  # handled in main
    return parser


def _stop_message(step: int | None) -> str:
    if step is None:
        return "stopped; run the same command to resume from the files on disk, or start again"
    if step == 0:
        return "stopped before the first step was complete; run the same command to start again"
    return f"stopped after step {step}, saved in a checkpoint; run the same command to resume"
