"""The command `rlvr`. Heavy imports come after all checks of what the user typed."""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
from collections.abc import Sequence

from rlvr.errors import RLVRError, Stopped
from rlvr.run.stage_protocol import STAGES, load_stage, run_stage

__all__ = ["main"]

COMMANDS = {
    "grpo": "train by GRPO on Ray, vLLM and DeepSpeed; goes on where it was interrupted",
    "sft": "supervised training: a base, a cold start, adapters, a student, a reward model",
    "sample": "rejection sampling: write, verify, filter, keep",
    "distill": "ask a teacher behind an address, score its replies, keep the good ones",
    "clean": "rows of thoughts and answers: drop, tag, lay out, each with its reason",
    "r1": "the whole chain: cold start, RL, rejection sampling, SFT, RL, distillation",
    "ablate": "base, pure RL, SFT, SFT then RL: from one base, with one evaluation",
    "eval": "how good a model is and at what cost: pass@1, pass@k, votes, lengths, languages",
    "compare": "several evaluations in one table, the same prompts side by side; Markdown and HTML",
    "export": "merge adapters, save, write the model card, push to the hub",
    "serve": "a model behind an OpenAI-compatible address, thought and answer apart",
    "chat": "talk to a model, by its folder or an address; RECIPE is that folder or address",
}


# commands that are no stage of their own: module:function(recipe, overrides) -> exit status
OTHER_COMMANDS = {
    "r1": "rlvr.stages.pipeline.pipeline_command:run_r1",
    "ablate": "rlvr.stages.pipeline.pipeline_command:run_ablate",
    "serve": "rlvr.serving.serve_command:run_serve",
    "chat": "rlvr.serving.chat_command:run_chat",
}


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
        if options.command in STAGES:
            return run_stage(load_stage(options.command), options.recipe, options.overrides)
        module, _, function = OTHER_COMMANDS[options.command].partition(":")
        run = getattr(importlib.import_module(module), function)
        return int(run(options.recipe, options.overrides))
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
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("recipe", metavar="RECIPE", help="YAML file")
        command.add_argument(
            "overrides",
            metavar="section.key=value",
            nargs="*",
            help="instead of the recipe's value",
        )
        command.set_defaults(command=name)
    text = "`rlvr reward test FILE`: values and reasons for completions in a file"
    of_reward = commands.add_parser("reward", help=text, description=text)
    of_reward.add_subparsers(required=True, metavar="test").add_parser("test")  # see main
    return parser


def _how_to_go_on(step: int | None) -> str:
    if step is None:
        return "stopped; the same command goes on from what is on the disk, or starts again"
    if step == 0:
        return "stopped before the first step was done; the same command starts again"
    return (
        f"stopped after step {step}, which is in a checkpoint; the same command goes on from there"
    )
