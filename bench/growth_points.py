"""The measured points of `bench.growth`, the work of each, and the exponent of a series.

Work is counted in floating-point operations of matrix products, forward once to generate and three
times to learn (forward and backward):

    linear layers  2 x parameters                                    per token
    head           2 x hidden size x vocabulary                      per completion token
    attention      4 x layers x hidden size x tokens before and at   per token, the quadratic part

The prompt of a group counts once, since engine and learner can share it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["AXES", "Axis", "ModelShape", "Point", "any_number", "points_of", "slope", "work_flops"]

VOCAB_SIZE = 640  # of the toy tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes of a Qwen3 with tied embeddings, as arguments of rlvr.toy.toy_model.make_model."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    intermediate_size: int

    @property
    def linear_params(self) -> int:
        """Parameters of the linear layers, without the head."""
        hidden = self.hidden_size
        attention = 2 * hidden * hidden * (1 + self.num_kv_heads / self.num_heads)
        return self.num_layers * int(attention + 3 * hidden * self.intermediate_size)

    @property
    def num_params(self) -> int:
        """Parameters with the embedding, which is also the head; norms are left out."""
        return self.linear_params + VOCAB_SIZE * self.hidden_size


SHAPES = {  # name -> about that many parameters
    "1M": ModelShape(
        hidden_size=128, num_layers=5, num_heads=4, num_kv_heads=2, intermediate_size=384
    ),
    "4M": ModelShape(
        hidden_size=256, num_layers=5, num_heads=4, num_kv_heads=2, intermediate_size=768
    ),
    "15M": ModelShape(
        hidden_size=384, num_layers=8, num_heads=6, num_kv_heads=3, intermediate_size=1152
    ),
    "60M": ModelShape(
        hidden_size=640, num_layers=12, num_heads=10, num_kv_heads=5, intermediate_size=1920
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The settings of one measurement: a step of `tasks` groups."""

    value: float  # of the axis
    shape: ModelShape = SHAPES["1M"]
    num_engines: int = 1
    tasks: int = 4
    group_size: int = 16
    max_tokens: int = 128

    @property
    def session(self) -> tuple[ModelShape, int]:
        """Points with the same model and engines are measured with the same actors."""
        return self.shape, self.num_engines


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A series of points, and the limit of the exponent of time in what grows along it."""

    name: str
    title: str
    points: tuple[Point, ...]
    limit: float = 1.05
    adds_work: bool = True  # False: the work is constant, and time is compared with the value


AXES = (
    Axis(
        name="group_size",
        title="completions of a task",
        points=tuple(Point(value=n, group_size=n) for n in (4, 8, 16, 32, 64)),
    ),
    Axis(
        name="length",
        title="tokens of a completion",
        points=tuple(
            Point(value=n, max_tokens=n, tasks=2, group_size=8) for n in (128, 256, 512, 1024, 2048)
        ),
    ),
    Axis(
        name="engines",
        title="engines, same work and cores",
        points=tuple(Point(value=n, num_engines=n, tasks=8) for n in (1, 2, 4)),
        limit=0.05,
        adds_work=False,
    ),
    Axis(
        name="model_size",
        title="parameters",
        points=tuple(Point(value=s.num_params, shape=s, tasks=2) for s in SHAPES.values()),
    ),
)


def points_of(axes: Sequence[Axis]) -> dict[tuple[ModelShape, int], list[tuple[Axis, Point]]]:
    """Return the points by session, so that each session starts once."""
    by_session: dict[tuple[ModelShape, int], list[tuple[Axis, Point]]] = {}
    for axis in axes:
        for point in axis.points:
            by_session.setdefault(point.session, []).append((axis, point))
    return by_session


def work_flops(point: Point, *, prompt_tokens: float) -> float:
    """Return the floating-point operations of a step; see the module's docstring."""
    shape = point.shape
    prompt = _forward_flops(shape, 0.0, prompt_tokens)
    completion = _forward_flops(shape, prompt_tokens, prompt_tokens + point.max_tokens)
    completion += 2 * shape.hidden_size * VOCAB_SIZE * point.max_tokens
    return 4 * point.tasks * (prompt + point.group_size * completion)


def _forward_flops(shape: ModelShape, start: float, end: float) -> float:
    """Linear layers and attention of the tokens from position `start` to `end`."""
    attended = (end * (end + 1) - start * (start + 1)) / 2
    attention = 4 * shape.num_layers * shape.hidden_size * attended
    return 2 * shape.linear_params * (end - start) + attention


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the exponent b of y = a x^b, by least squares on logarithms."""
    log_x, log_y = [math.log(v) for v in x], [math.log(v) for v in y]
    mean_x, mean_y = sum(log_x) / len(log_x), sum(log_y) / len(log_y)
    products = sum((a - mean_x) * (b - mean_y) for a, b in zip(log_x, log_y, strict=True))
    return products / sum((a - mean_x) ** 2 for a in log_x)


def any_number(completions: Sequence[str], **columns: Any) -> list[float]:
    """Return a number in [0, 1] for each text, which differs between texts."""
    return [zlib.crc32(text.encode()) / 2**32 for text in completions]
