r"""Answers that are the same by value, and the one that most completions give.

"2/4", "1/2", "0.5", "3"  -->  {1/2: 3 votes, 3: 1 vote}  -->  1/2

What states no answer has no vote. Among answers with equally many votes the one that was written
first wins (cons@k, "majority vote": Wang et al., arXiv 2203.11171; DeepSeek-R1, section 3).
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

    value: str  # a plain number in lowest terms, else as it was first written
    members: tuple[int, ...]  # places of the completions, ascending


def stated_answer(text: str, *, think_prefilled: bool, is_choice: bool = False) -> str | None:
    """The answer that a completion states, as the rewards read it; None: it states none."""
    if is_choice:
        chosen = [
            c for c in LETTERS if grade_choice(text, c, think_prefilled=think_prefilled).value
        ]
        return chosen[0] if len(chosen) == 1 else None
    answer = read_answer(as_turn(text), think_prefilled)
    return answer.text.strip() if isinstance(answer, StatedAnswer) else None


def clusters_of(answers: Sequence[str | None]) -> list[AnswerCluster]:
    """In the order in which their first members were written."""
    spellings: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        if answer:
            spellings.setdefault(_in_lowest_terms(answer), []).append(place)
    members: dict[str, list[int]] = {}
    for value, places in spellings.items():
        members.setdefault(_equal_among(value, list(members)), []).extend(places)
    return [
        AnswerCluster(value=value, members=tuple(sorted(places)))
        for value, places in members.items()
    ]


def most_voted(
    clusters: Sequence[AnswerCluster], *, weights: Mapping[int, float] | None = None
) -> AnswerCluster | None:
    """The cluster with the most votes, or with the largest sum of its members' weights."""
    if not clusters:
        return None
    votes = [
        float(len(c.members)) if weights is None else sum(weights[place] for place in c.members)
        for c in clusters
    ]
    return clusters[votes.index(max(votes))]


def _in_lowest_terms(answer: str) -> str:
    number = plain_number(answer)
    return answer if number is None else str(number)


def _equal_among(value: str, known: Sequence[str]) -> str:
    """The first of `known` that accuracy takes for the same; itself where there is none.

    Plain numbers are in lowest terms already: two of them are never asked about.
    """
    candidates = [k for k in known if plain_number(value) is None or plain_number(k) is None]
    if not candidates:
        return value
    completions = [f"<answer>{_boxed(value)}</answer>"] * len(candidates)
    grades = grade_accuracies(completions, candidates, [False] * len(candidates))
    return next((k for k, grade in zip(candidates, grades, strict=True) if grade.value), value)


def _boxed(value: str) -> str:
    is_balanced = value.count("{") == value.count("}")
    return rf"\boxed{{{value}}}" if is_balanced else value
