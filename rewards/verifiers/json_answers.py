"""`json_schema`: 1 where an answer is JSON that is valid against the schema of its row, else 0.

    completion -> <answer>, else what follows the thought -> its last fenced block, where there is
    one -> json.loads -> jsonschema, in a child with a deadline (rewards.verifiers.json_check)

A schema is JSON Schema, draft 2020-12 where its "$schema" names no other; a mapping or its JSON
text. "$ref" goes within the schema: nothing is fetched. "format" is a remark, as the draft says.
Strict JSON: NaN, Infinity, a key that stands twice and text beside the value are wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.grades import Grade, Outcome
from rewards.math.extract import answer_part
from rewards.transcript import Turn, as_turn, resolve_think_prefilled
from rewards.worker_pool.pool import Failure, Reply, WorkerPool

__all__ = ["check_schema", "grade_json", "grade_jsons", "json_schema"]

MAX_CHARS = 100_000

_POOL = WorkerPool(
    "rewards.verifiers.json_check:validate_job",
    control=['{"type": "integer"}', "5"],
    control_value="",
)
_FENCED = re.compile(r"^[ \t]*```[ \t]*\w*[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)
_MAX_FENCES = 200


def json_schema(
    completions: Sequence[object],
    schema: Mapping[str, Any] | str | Sequence[Mapping[str, Any] | str],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[float | None]:
    """Is each answer valid against `schema`, one or one a completion? None: it is no schema.

        json_schema(['<answer>{"a": 5}</answer>'], {"required": ["a"]}) == [1.0]

    Raises:
        ValueError: lengths that differ, or a completion of neither kind.
        WorkersUnavailable: jsonschema cannot be imported.
    """
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    return [grade.value for grade in grade_jsons(completions, schema, flags)]


def grade_json(
    completion: object, schema: Mapping[str, Any] | str, *, think_prefilled: bool | None = None
) -> Grade:
    """`json_schema` of one completion; the reason says where it is not valid, and why."""
    return grade_jsons([completion], schema, [bool(think_prefilled)])[0]


def grade_jsons(
    completions: Sequence[object],
    schemas: Mapping[str, Any] | str | Sequence[object],
    think_prefilled: Sequence[bool],
) -> list[Grade]:
    """`grade_json` for many at once: each pair of schema and answer is judged once."""
    is_one = isinstance(schemas, str | Mapping)
    golds = [schemas] * len(completions) if is_one else list(schemas)
    if len(golds) != len(completions):
        raise ValueError(f"schema: needs a list of {len(completions)} schemas, not {len(golds)}")
    texts = [_schema_text(gold) for gold in golds]
    answers = [
        _answer(as_turn(completion), is_open)
        for completion, is_open in zip(completions, think_prefilled, strict=True)
    ]
    pairs = [
        (text, answer)
        for text, answer in zip(texts, answers, strict=True)
        if text is not None and isinstance(answer, str)
    ]
    asked = list(dict.fromkeys(pairs))
    replies = dict(zip(asked, _POOL.ask_all([list(pair) for pair in asked]), strict=True))
    return [_judged(text, answer, replies) for text, answer in zip(texts, answers, strict=True)]


def check_schema(schema: object) -> None:
    """Raises ValueError for what cannot be a schema; the rest is seen at the first answer."""
    if _schema_text(schema) is None:
        raise ValueError(f"schema is {schema!r:.60}; it must be a mapping or its JSON text")


def _schema_text(schema: object) -> str | None:
    """As JSON text; None where it is neither a mapping nor JSON."""
    try:
        if isinstance(schema, Mapping):
            return json.dumps(schema)
        if isinstance(schema, str) and isinstance(json.loads(schema), dict | bool):
            return schema
    except (TypeError, ValueError, RecursionError):
        pass
    return None


def _answer(turn: Turn, think_prefilled: bool) -> str | Grade:
    part = answer_part(turn, think_prefilled)
    if isinstance(part, Grade):
        return part
    text = part[0].strip()
    if len(text) > MAX_CHARS:
        return _wrong(f"longer than {MAX_CHARS} characters")
    if "```" in text and text.count("```") <= _MAX_FENCES:
        blocks = _FENCED.findall(text)
        text = blocks[-1].strip() if blocks else text
    if not text:
        return Grade(value=0.0, outcome=Outcome.NO_ANSWER, reason="the answer is empty")
    return text


def _judged(
    schema: str | None, answer: str | Grade, replies: Mapping[tuple[str, str], Reply]
) -> Grade:
    if schema is None:
        return _ungradable("the schema is neither a mapping nor its JSON text")
    if isinstance(answer, Grade):
        return answer
    reply = replies[schema, answer]
    if reply.failure is Failure.OWN_FAULT:
        return Grade(value=0.0, outcome=Outcome.TIMEOUT, reason=reply.reason)
    if reply.failure is Failure.BROKEN:
        return Grade(value=None, outcome=Outcome.ERROR, reason=reply.reason)
    fault = str(reply.value)
    if fault.startswith("schema: "):
        return _ungradable(fault)
    return Grade(value=1.0, outcome=Outcome.CORRECT, reason="") if not fault else _wrong(fault)


def _wrong(reason: str) -> Grade:
    return Grade(value=0.0, outcome=Outcome.WRONG, reason=reason)


def _ungradable(reason: str) -> Grade:
    return Grade(value=None, outcome=Outcome.UNGRADABLE_GOLD, reason=reason)
