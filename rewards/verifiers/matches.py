r"""`exact_match`, `regex_match` and `json_schema`: 1 where an answer matches, else 0.

    text: completion -> the last \boxed{}, else <answer>, else the text after the reasoning
    JSON: completion -> <answer>, else the text after the reasoning -> its last fenced block, if any

`exact_match` compares text, not values: "0.5" is not "1/2". `regex_match` applies Python's
`re.fullmatch` with the row's pattern; flags are written in the pattern, "(?i)yes|no". A schema is
JSON Schema, draft 2020-12 unless its "$schema" names another; "$ref" resolves within the schema and
"format" is an annotation. JSON is strict: NaN, Infinity, a duplicate key and text around are wrong.

A pattern can take forever on an answer, so that patterns and schemas (json_check) run in a child
that is killed after a deadline: such an answer is wrong, with the outcome timeout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rewards.base import Grade, Outcome, check_flag, one_each, reward
from rewards.math.extract import answer_part, last_boxed
from rewards.transcript import Turn, as_turns
from rewards.worker_pool.pool import WorkerPool

__all__ = [
    "exact_match",
    "grade_exact",
    "grade_json",
    "grade_regex",
    "json_schema",
    "match_job",
    "regex_match",
]

MAX_CHARS = 20_000  # of an answer
MAX_JSON_CHARS = 100_000

_REGEX_POOL = WorkerPool(
    "rewards.verifiers.matches:match_job", control=["a+", "aa"], control_value="match"
)
_JSON_POOL = WorkerPool(
    "rewards.verifiers.json_check:validate_job",
    control=['{"type": "integer"}', "5"],
    control_value="",
)
_FENCED = re.compile(r"^[ \t]*```[ \t]*\w*[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)
_MAX_FENCES = 200


@reward(columns=("answer",), options=("ignore_case",), check_options=check_flag("ignore_case"))
def exact_match(
    completions: Sequence[object],
    answer: Sequence[object],
    *,
    ignore_case: bool = False,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    """Reward 1 for each answer that equals the text in `answer`, else 0.

    White space around both is ignored. None where the gold answer is not text.

        exact_match(["<answer> Paris </answer>"], ["Paris"]) == [1.0]
    """
    turns = as_turns(completions, think_prefilled, prompts)
    rows = zip(turns, one_each("answer", answer, len(completions)), strict=True)
    return [_compare(_answer(*turn), gold, ignore_case) for turn, gold in rows]


def grade_exact(
    completion: object,
    answer: object,
    *,
    ignore_case: bool = False,
    think_prefilled: bool | None = None,
) -> Grade:
    """Return the grade of one completion by `exact_match`."""
    return exact_match.grades(
        [completion], [answer], ignore_case=ignore_case, think_prefilled=think_prefilled
    )[0]


@reward(columns=("pattern",), options=("pattern",))
def regex_match(
    completions: Sequence[object],
    pattern: str | Sequence[str],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    r"""Reward 1 for each answer that matches `pattern`, one or one per completion, else 0.

    None where the pattern is invalid.

        regex_match(["<answer>2024-02-29</answer>"], r"\d{4}-\d\d-\d\d") == [1.0]

    Raises:
        WorkersUnavailable: a child process cannot be started.
    """
    answers = [_answer(*turn) for turn in as_turns(completions, think_prefilled, prompts)]
    golds = one_each("pattern", pattern, len(completions), shared=True)
    rows = list(zip(golds, answers, strict=True))
    results = _REGEX_POOL.ask_each(
        (gold, answer) for gold, answer in rows if isinstance(gold, str) and isinstance(answer, str)
    )
    return [_match(gold, answer, results) for gold, answer in rows]


def grade_regex(completion: object, pattern: str, *, think_prefilled: bool | None = None) -> Grade:
    """Return the grade of one completion by `regex_match`."""
    return regex_match.grades([completion], pattern, think_prefilled=think_prefilled)[0]


def match_job(payload: Any) -> str:
    """Return "match", "none" or "bad_pattern" for a pattern and a text; runs in a worker."""
    pattern, text = payload
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return "bad_pattern"
    return "match" if compiled.fullmatch(text) else "none"


def _answer(turn: Turn, think_prefilled: bool) -> str | Grade:
    part = answer_part(turn, think_prefilled)
    if isinstance(part, Grade):
        return part
    boxed = last_boxed(part[0])
    text = part[0].strip() if boxed is None else boxed
    if len(text) > MAX_CHARS:
        return Grade.of(Outcome.WRONG, f"longer than {MAX_CHARS} characters")
    return text or Grade.of(Outcome.NO_ANSWER, "the answer is empty")


def _compare(answer: str | Grade, gold: object, ignore_case: bool) -> Grade:
    if not isinstance(gold, str) or not gold.strip():
        reason = f"the gold answer is {gold!r:.60}, not text"
        return Grade.of(Outcome.UNGRADABLE_GOLD, reason)
    if isinstance(answer, Grade):
        return answer
    fold = str.casefold if ignore_case else str
    if fold(answer) == fold(gold.strip()):
        return Grade.of(Outcome.CORRECT)
    return Grade.of(Outcome.WRONG, f"{answer!r:.60} is not {gold!r:.60}")


def _match(
    pattern: object, answer: str | Grade, results: Mapping[tuple[str, str], str | Grade]
) -> Grade:
    if not isinstance(pattern, str):
        return Grade.of(Outcome.UNGRADABLE_GOLD, f"the pattern is {pattern!r:.60}, not text")
    if isinstance(answer, Grade):
        return answer
    result = results[pattern, answer]
    if isinstance(result, Grade):
        return result
    if result == "bad_pattern":
        reason = f"{pattern!r:.60} is not a regular expression"
        return Grade.of(Outcome.UNGRADABLE_GOLD, reason)
    if result == "match":
        return Grade.of(Outcome.CORRECT)
    return Grade.of(Outcome.WRONG, f"{answer!r:.60} does not match {pattern!r:.60}")


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
    answers = [_json_answer(*turn) for turn in as_turns(completions, think_prefilled, prompts)]
    schemas = one_each("schema", schema, len(completions), shared=True)
    texts = [_schema_text(entry) for entry in schemas]
    rows = list(zip(texts, answers, strict=True))
    faults = _JSON_POOL.ask_each(
        (text, answer) for text, answer in rows if text is not None and isinstance(answer, str)
    )
    return [_json_grade(text, answer, faults) for text, answer in rows]


def grade_json(
    completion: object, schema: Mapping[str, Any] | str, *, think_prefilled: bool | None = None
) -> Grade:
    """Return the grade of one completion by `json_schema`; the reason is the first violation."""
    return json_schema.grades([completion], schema, think_prefilled=think_prefilled)[0]


def _schema_text(schema: object) -> str | None:
    """Return a schema as JSON text; None where it is neither a mapping nor JSON."""
    with suppress(TypeError, ValueError, RecursionError):
        if isinstance(schema, Mapping):
            return json.dumps(schema)
        if isinstance(schema, str) and isinstance(json.loads(schema), dict | bool):
            return schema
    return None


def _json_answer(turn: Turn, think_prefilled: bool) -> str | Grade:
    part = answer_part(turn, think_prefilled)
    if isinstance(part, Grade):
        return part
    text = part[0].strip()
    if len(text) > MAX_JSON_CHARS:
        return Grade.of(Outcome.WRONG, f"longer than {MAX_JSON_CHARS} characters")
    if "```" in text and text.count("```") <= _MAX_FENCES:
        blocks = _FENCED.findall(text)
        text = blocks[-1].strip() if blocks else text
    return text or Grade.of(Outcome.NO_ANSWER, "the answer is empty")


def _json_grade(
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
