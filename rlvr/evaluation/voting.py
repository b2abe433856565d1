r"""Majority vote over answers that are equal by value (cons@k).

"2/4", "1/2", "0.5", "3"  -->  {1/2: 3 votes, 3: 1 vote}  -->  1/2

A completion without an answer has no vote. Of answers with equally many votes the first one wins
(Wang et al., arXiv 2203.11171; DeepSeek-R1, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rewards import grade_choice
from rewards.math.extract import StatedAnswer, read_answer
from rewards.math.math_accuracy import grade_accuracies
from rewards.math.plain_numbers import plain_number
from rewards.transcript import as_turn

__all__ = ["AnswerCluster", "clusters_of", "most_voted", "stated_answer"]

LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCluster:
    """Completions with the same answer."""

    value: str  # a plain number in lowest terms, or else the first spelling
    members: tuple[int, ...]  # indices of the completions, ascending


def stated_answer(text: str, *, think_prefilled: bool, is_choice: bool = False) -> str | None:
    """Return the answer of a completion, as the rewards read it, or None."""
    if is_choice:
        chosen = [
            c for c in LETTERS if grade_choice(text, c, think_prefilled=think_prefilled).value
        ]
        return chosen[0] if len(chosen) == 1 else None
    answer = read_answer(as_turn(text), think_prefilled)
    return answer.text.strip() if isinstance(answer, StatedAnswer) else None


def clusters_of(answers: Sequence[str | None]) -> list[AnswerCluster]:
    """Cluster equal answers, in the order of their first members."""
    spellings: dict[str, list[int]] = {}
    for i, answer in enumerate(answers):
        if answer:
            number = plain_number(answer)
            value = answer if number is None else str(number)
            spellings.setdefault(value, []).append(i)
    members: dict[str, list[int]] = {}
    for value, indices in spellings.items():
        members.setdefault(_equal_answer(value, list(members)), []).extend(indices)
    return [
        AnswerCluster(value=value, members=tuple(sorted(indices)))
        for value, indices in members.items()
    ]


def most_voted(
    clusters: Sequence[AnswerCluster], *, weights: Mapping[int, float] | None = None
) -> AnswerCluster | None:
    """Return the cluster with the most votes, or with the largest sum of weights."""
    if not clusters:
        return None
    votes = [
        float(len(c.members)) if weights is None else sum(weights[i] for i in c.members)
        for c in clusters
    ]
    return clusters[votes.index(max(votes))]


def _equal_answer(value: str, known: Sequence[str]) -> str:
    """Return the first of `known` that `accuracy` grades as equal, or `value` itself.

    Two plain numbers are in lowest terms already and need no grading.
    """
    candidates = [k for k in known if plain_number(value) is None or plain_number(k) is None]
    if not candidates:
        return value
    is_balanced = value.count("{") == value.count("}")
    stated = rf"\boxed{{{value}}}" if is_balanced else value
    completions = [f"<answer>{stated}</answer>"] * len(candidates)
    grades = grade_accuracies(completions, candidates, [False] * len(candidates))
    return next((k for k, grade in zip(candidates, grades, strict=True) if grade.value), value)
