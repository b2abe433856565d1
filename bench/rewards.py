"""Compare the speed of `accuracy` with TRL's and open-r1's on one core: `python -m bench.rewards`.

plain     distinct pairs; the cache is cleared before each pass
grouped   groups of 16 completions with repeated answers, as in a GRPO step

All sides are called alternately with the same completions and golds from the main thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import describe_machine, load_average, use_cores
from rewards import accuracy, shutdown
from rewards.math.math_accuracy import clear_cache

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results"
GROUP_SIZE = 16
Pair = tuple[str, str]  # completion, gold


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.rewards", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="calls of each side, alternating")
    parser.add_argument("--pairs", type=int, default=480)
    options = parser.parse_args(arguments)
    use_cores(1)
    loads = {"plain": plain_pairs(options.pairs), "grouped": grouped_pairs(options.pairs)}
    record: dict[str, Any] = {
        "processor": describe_machine()["processor"],
        "python": platform.python_version(),
        "load_before": load_average(),
        "rates": {name: _rates(pairs, options.rounds) for name, pairs in loads.items()},
        "load_after": load_average(),
    }
    shutdown()
    path = RESULTS / f"{date.today()}-rewards.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(_report(record), f"\nAll figures: {path}", sep="\n")
    return 0


def plain_pairs(num_pairs: int, *, seed: int = 0) -> list[Pair]:
    """Return pairs with a right or a wrong answer, about half of each."""
    rng = random.Random(f"bench/rewards/{seed}")
    pairs = []
    for _ in range(num_pairs):
        gold = _gold(rng)
        answer = _rephrase(gold, rng) if rng.random() < 0.5 else _gold(rng)
        pairs.append((_completion(answer, rng), gold))
    return pairs


def grouped_pairs(num_pairs: int, *, seed: int = 0) -> list[Pair]:
    """Return groups of 16 with three different answers."""
    rng = random.Random(f"bench/rewards/groups/{seed}")
    pairs: list[Pair] = []
    while len(pairs) < num_pairs:
        gold = _gold(rng)
        answers = [_rephrase(gold, rng), _gold(rng), _gold(rng)]
        pairs += [
            (_completion(rng.choices(answers, weights=(8, 4, 1))[0], rng), gold)
            for _ in range(GROUP_SIZE)
        ]
    return pairs[:num_pairs]


def _gold(rng: random.Random) -> str:
    a, b, c = rng.randint(2, 999), rng.randint(2, 99), rng.randint(2, 9)
    forms = (
        *[str(a)] * 5,
        f"{a}.{b}",
        rf"\frac{{{a}}}{{{b}}}",
        rf"{c}\sqrt{{{b}}}",
        f"({c}, {b})",
        f"[{c}, {a})",
        rf"\{{{c}, {b}, {a}\}}",
        f"{c}x^2+{b}x-{a}",
        rf"{b}\pi",
        rf"{b}\%",
    )
    return rng.choice(forms)


def _rephrase(gold: str, rng: random.Random) -> str:
    """Return the same value, sometimes in another form."""
    if gold.isdigit():
        return rng.choice((gold, gold, f"{int(gold):,}", f"{gold}.0"))
    return gold.replace(r"\frac", rng.choice((r"\frac", r"\dfrac")))


def _completion(answer: str, rng: random.Random) -> str:
    thought = " ".join(f"step {n}: {rng.randint(1, 99)}+{n}" for n in range(rng.randint(5, 40)))
    return f"<think>{thought}</think> The answer is $\\boxed{{{answer}}}$."


def _rates(pairs: Sequence[Pair], rounds: int) -> dict[str, list[float]]:
    completions = [completion for completion, _ in pairs]
    golds = [gold for _, gold in pairs]

    def without_cache() -> None:
        clear_cache()
        accuracy(completions, golds)

    sides: dict[str, Callable[[], Any]] = {
        "TRL accuracy_reward": _trl_side(completions, golds),
        "open-r1's calls": _open_r1_side(completions, golds),
        "accuracy, no cache kept": without_cache,
        "accuracy": lambda: accuracy(completions, golds),
    }
    for side in sides.values():
        side()  # imports modules and starts children
    clear_cache()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            rates[name].append(len(pairs) / (time.perf_counter() - start))
    return rates


def _trl_side(completions: Sequence[str], golds: Sequence[str]) -> Callable[[], Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.rewards import accuracy_reward
    messages = [[{"role": "assistant", "content": text}] for text in completions]
    solutions = [f"${gold}$" for gold in golds]
    return lambda: accuracy_reward(messages, solutions)


def _open_r1_side(completions: Sequence[str], golds: Sequence[str]) -> Callable[[], Any]:
    """Make open-r1's calls of Math-Verify; its `accuracy_reward` is in no package."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse, verify

    answers = LatexExtractionConfig(
        boxed_match_priority=0,
        try_extract_without_anchor=False,
        normalization_config=NormalizationConfig(units=True),
    )

    def grade(completion: str, gold: str) -> float | None:
        expected = parse(f"${gold}$", extraction_mode="first_match")
        if not expected:
            return None
        return float(verify(expected, parse(completion, [answers], extraction_mode="first_match")))

    return lambda: [grade(*pair) for pair in zip(completions, golds, strict=True)]


def _report(record: dict[str, Any]) -> str:
    lines = [
        f"{record['processor']}, one core, Python {record['python']}, load average "
        f"{record['load_before']:.1f} to {record['load_after']:.1f}",
        "",
        "| load | side | completions/s (range) | to TRL |",
        "|---|---|---|---|",
    ]
    for load, rates in record["rates"].items():
        base = median(rates["TRL accuracy_reward"])
        for name, values in rates.items():
            speed = f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"
            lines.append(f"| {load} | {name} | {speed} | {median(values) / base:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
