"""One completion out of several, by their scores.

best of n    the largest score (Cobbe et al., arXiv 2110.14168; Snell et al., arXiv 2408.03314)
weighted     the answer whose completions' scores add up to most (Li et al., arXiv 2206.02336)
aggregation  of step scores into one: the last, the least, or the product, as in
             huggingface/search-and-learn
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from rlvr.evaluation.voting import Cluster, most_voted

__all__ = ["Aggregation", "aggregated", "best_of", "prefixes", "weighted_vote"]

Aggregation = Literal["last", "min", "prod"]

NO_SCORE = -math.inf


def aggregated(step_scores: Sequence[float | None], how: Aggregation) -> float:
    """One score of many; the least of all where one could not be had, or there is none."""
    scores = [score for score in step_scores if score is not None]
    if not scores or len(scores) < len(step_scores):
        return NO_SCORE
    match how:
        case "last":
            return scores[-1]
        case "min":
            return min(scores)
        case "prod":
            return math.prod(scores)


def best_of(scores: Sequence[float]) -> int:
    """The place of the largest score; of equal ones the first."""
    return max(range(len(scores)), key=lambda place: scores[place])


def weighted_vote(clusters: Sequence[Cluster], scores: Sequence[float]) -> int | None:
    """The best completion of the answer with the largest sum of scores; None without an answer."""
    weights = {place: max(score, 0.0) for place, score in enumerate(scores)}
    winner = most_voted(clusters, weights=weights)
    if winner is None:
        return None
    return max(winner.members, key=lambda place: (scores[place], -place))


def prefixes(text: str, *, step_end: str) -> list[str]:
    """The text up to the end of each step: "a\\n\\nb" is ["a\\n\\n", "a\\n\\nb"]."""
    steps = text.split(step_end)
    ends = [step_end.join(steps[: i + 1]) + step_end for i in range(len(steps) - 1)]
    return [*ends, text] if steps[-1].strip() or not ends else ends
