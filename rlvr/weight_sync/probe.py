"""Judge by the log-probs of a fixed text whether engines hold the learner's weights.

    error   |engine - learner| on the probe text, token by token
    noise   mean error at the first sync of a run, when both hold the same weights (version 0, or
            those of a checkpoint): learner and engine round differently
    moved   mean |learner now - learner at the first sync|

- With an absolute limit, no error may exceed it.
- Without one (bfloat16, where rounding exceeds the effect of an optimizer step), no error of the
  first sync may exceed FIRST_LIMIT, and later the mean error of an engine may not exceed
  NOISE_FACTOR * noise + MOVED_FRAC * moved. The second term allows for rounding errors that grow
  with the log-probs. The error of an engine that keeps the weights of the first sync is about
  `moved`: it is found when that exceeds NOISE_FACTOR / (1 - MOVED_FRAC) times the noise.
- In both cases, an engine whose log-probs are bitwise those of the previous sync, where most of the
  learner's have changed, has kept its weights, however small the change is.

Errors in part of the weights that move the log-probs by less than the limit are not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import CheckError

__all__ = ["ProbeCheck"]

FIRST_LIMIT = 0.5  # nats
NOISE_FACTOR = 3.0
MIN_NOISE = 3e-4  # nats; learner and engine may run the same kernels, and differ by 0
MOVED_FRAC = 0.1

Logprobs = NDArray[np.float32]  # [T-1], of the probe text


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    """The first sync of a run."""

    learner: Logprobs
    noise: float  # nats


@dataclass(slots=True, kw_only=True)
class ProbeCheck:
    """Judges the syncs of a run, one after the other."""

    max_error: float | None  # nats; None: judge by the noise
    _first: _First | None = field(init=False, default=None)
    _previous: tuple[Logprobs, Sequence[Logprobs]] | None = field(init=False, default=None)

    def __call__(self, learner: Logprobs, engines: Sequence[Logprobs]) -> float:
        """Return the largest error over all engines and tokens, in nats.

        Raises CheckError: an engine does not hold the learner's weights.
        """
        errors = [
            self.check_one(learner, logprobs, name=f"engine {i}")
            for i, logprobs in enumerate(engines)
        ]
        self._check_movement(learner, engines)
        if self._first is None:
            noise = max(MIN_NOISE, *(float(error.mean()) for error in errors))
            self._first = _First(learner=learner, noise=noise)
        self._previous = (learner, engines)
        return max(float(error.max()) for error in errors)

    def check_one(self, learner: Logprobs, engine: Logprobs, *, name: str) -> Logprobs:
        """Return the errors of an engine, in nats, or raise CheckError if they are too large."""
        error: Logprobs = np.abs(engine - learner)
        if self.max_error is None and self._first is not None:
            self._check_mean(name, float(error.mean()), learner, self._first)
        else:
            _check_largest(name, float(error.max()), limit=self.max_error or FIRST_LIMIT)
        return error

    def _check_mean(self, name: str, error: float, learner: Logprobs, first: _First) -> None:
        moved = float(np.abs(learner - first.learner).mean())
        limit = NOISE_FACTOR * first.noise + MOVED_FRAC * moved
        if not error <= limit:  # also if it is nan
            raise CheckError(
                f"{name} and the learner differ by {error:.2g} nats on the probe text, in "
                f"the mean (limit {limit:.2g}: the first sync left {first.noise:.2g}, and the "
                f"learner has moved by {moved:.2g} since; checks.max_probe_error sets another "
                "limit): they do not hold the same weights"
            )

    def _check_movement(self, learner: Logprobs, engines: Sequence[Logprobs]) -> None:
        if self._previous is None:
            return
        learner_before, engines_before = self._previous
        if np.mean(learner != learner_before) <= 0.5:
            return
        for i, (now, before) in enumerate(zip(engines, engines_before, strict=False)):
            if np.array_equal(now, before):
                raise CheckError(
                    f"engine {i} gives the probe text the same log-probs as after the previous "
                    "sync, the learner others: the engine has kept its weights"
                )


def _check_largest(name: str, error: float, *, limit: float) -> None:
    if not error <= limit:
        raise CheckError(
            f"{name} and the learner differ by {error:.2g} nats on the probe text "
            f"(limit {limit:.2g}, checks.max_probe_error): they do not hold the same weights"
        )
