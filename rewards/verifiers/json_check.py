"""Validation of JSON against a schema, in a worker that its parent can kill.

A pattern of the schema can take forever on a hostile answer, and an answer can nest deeper than
Python's stack. The registry contains the drafts and fetches nothing.
"""

from __future__ import annotations

import json
from typing import Any

from jsonschema import SchemaError, validators  # type: ignore[import-untyped]
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable

__all__ = ["validate_job"]

_MAX_REASON_CHARS = 200


def validate_job(payload: Any) -> str:
    """Return why an answer is invalid; empty if it is valid. `payload`: texts of schema and answer.

    A text that begins with "schema: " is a fault of the schema.
    """
    schema_text, answer_text = payload
    schema = json.loads(schema_text)
    checker = validators.validator_for(schema, default=validators.Draft202012Validator)
    try:
        checker.check_schema(schema)
    except SchemaError as error:
        return f"schema: {error.message}"[:_MAX_REASON_CHARS]
    try:
        answer = json.loads(
            answer_text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys
        )
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"[:_MAX_REASON_CHARS]
    try:
        fault = next(checker(schema, registry=REGISTRY).iter_errors(answer), None)
    except Unresolvable as error:
        return f"schema: cannot resolve {error.ref}"[:_MAX_REASON_CHARS]
    except RecursionError:
        return "nested too deeply"
    return "" if fault is None else f"{fault.json_path}: {fault.message}"[:_MAX_REASON_CHARS]


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("duplicate key")
    return mapping
