"""`json_schema`: 1 where an answer is JSON that is valid against the schema of its row, else 0.

    completion -> <answer>, else the text after the reasoning -> its last fenced block, if any
               -> json.loads -> jsonschema, in a child process with a deadline (json_check)

A schema is JSON Schema as a mapping or its JSON text, draft 2020-12 unless its "$schema" names
another. "$ref" resolves within the schema: nothing is fetched. "format" is an annotation, as in the
draft. JSON is strict: NaN, Infinity, a duplicate key and text around the value are wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.base import Grade, Outcome, one_each, reward
from rewards.math.extract import answer_part
from rewards.transcript import Turn, as_turns
from rewards.worker_pool.pool import WorkerPool

__all__ = ["grade_json", "json_schema"]

MAX_CHARS = 100_000

_POOL = WorkerPool(
    "rewards.verifiers.json_check:validate_job",
    control=['{"type": "integer"}', "5"],
    control_value="",
)
_FENCED = re.compile(r"^[ \t]*```[ \t]*\w*[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)
_MAX_FENCES = 200


def _check_schema(options: Mapping[str, Any]) -> None:
    schema = options.get("schema", {})
    if _schema_text(schema) is None:
        raise ValueError(f"schema is {schema!r:.60}; it must be a mapping or its JSON text")


@reward(columns=("schema",), options=("schema",), check_options=_check_schema)
def json_schema(
    completions: Sequence[object],
    schema: Mapping[str, Any] | str | Sequence[Mapping[str, Any] | str],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    """Reward 1 for each answer that is valid against `schema`, one or one per completion, else 0.

    None where the schema is invalid.

        json_schema(['<answer>{"a": 5}</answer>'], {"required": ["a"]}) == [1.0]

    Raises:
        WorkersUnavailable: jsonschema cannot be imported.
    """
    answers = [_answer(*turn) for turn in as_turns(completions, think_prefilled, prompts)]
    schemas = one_each("schema", schema, len(completions), shared=True)
    texts = [_schema_text(entry) for entry in schemas]
    rows = list(zip(texts, answers, strict=True))
    faults = _POOL.ask_each(
        (text, answer) for text, answer in rows if text is not None and isinstance(answer, str)
    )
    return [_grade(text, answer, faults) for text, answer in rows]


def grade_json(
    completion: object, schema: Mapping[str, Any] | str, *, think_prefilled: bool | None = None
) -> Grade:
    """Return the grade of one completion by `json_schema`; the reason is the first violation."""
    return json_schema.grades([completion], schema, think_prefilled=think_prefilled)[0]


def _schema_text(schema: object) -> str | None:
    """Return a schema as JSON text; None where it is neither a mapping nor JSON."""
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
        return Grade.of(Outcome.WRONG, f"longer than {MAX_CHARS} characters")
    if "```" in text and text.count("```") <= _MAX_FENCES:
        blocks = _FENCED.findall(text)
        text = blocks[-1].strip() if blocks else text
    return text or Grade.of(Outcome.NO_ANSWER, "the answer is empty")


def _grade(
    schema: str | None, answer: str | Grade, faults: Mapping[tuple[str, str], str | Grade]
) -> Grade:
    if schema is None:
        reason = "the schema is neither a mapping nor its JSON text"
        return Grade.of(Outcome.UNGRADABLE_GOLD, reason)
    if isinstance(answer, Grade):
        return answer
    fault = faults[schema, answer]
    if isinstance(fault, Grade):
        return fault
    if fault.startswith("schema: "):
        return Grade.of(Outcome.UNGRADABLE_GOLD, fault)
    return Grade.of(Outcome.WRONG if fault else Outcome.CORRECT, fault)
