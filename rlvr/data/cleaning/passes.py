"""The passes of a recipe as functions: row in, row out or the reason why it is dropped.

    Pass = (row, id) -> (row, reason or None)

A pass that remembers earlier rows (duplicates) sees only those that passed what stands before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlvr.data.cleaning import filters
from rlvr.data.cleaning.contamination import Contamination
from rlvr.data.cleaning.distractors import with_distractors
from rlvr.data.cleaning.domains import Domains, read_domains
from rlvr.data.cleaning.duplicates import Duplicates
from rlvr.data.cleaning.layout import lay_out, with_caption, with_system
from rlvr.data.cleaning.pass_options import PassSection
from rlvr.data.cleaning.row_form import wrong_form
from rlvr.data.cleaning.row_text import (
    answer_of,
    completion_of,
    language_of,
    question_of,
    steps_of,
    thought_of,
)
from rlvr.data.inputs import check_is_finite, open_section
from rlvr.errors import ConfigError

__all__ = ["Pass", "Row", "make_passes"]

Row = dict[str, Any]
Pass = Callable[[Row, str], tuple[Row, str | None]]


def make_passes(sections: Sequence[PassSection], *, seed: int) -> list[tuple[str, Pass]]:
    """(name, pass) in order. Raises ConfigError for a file that a pass cannot read."""
    return [
        (section.name, _MAKERS[section.name](section.options, seed, f"passes.{i}.{section.name}"))
        for i, section in enumerate(sections)
    ]


def _dropping(reason_of: Callable[[Row], str | None]) -> Pass:
    return lambda row, id: (row, reason_of(row))


def _changing(change: Callable[[Row], Row]) -> Pass:
    return lambda row, id: (change(row), None)


def _form(options: Any, seed: int, key: str) -> Pass:
    def check(row: Row, id: str) -> tuple[Row, str | None]:
        reason = wrong_form(row)
        if reason and options.stop:
            raise ConfigError(f"row {id}: {reason}; mend it, or drop such rows with stop: false")
        return row, reason

    return check


def _well_formed(options: Any, seed: int, key: str) -> Pass:
    def reason(row: Row) -> str | None:
        is_open = bool(row.get("think_prefilled"))
        return filters.malformed(
            completion_of(row), profile=options.profile, think_prefilled=is_open
        )

    return _dropping(reason)


def _whole(options: Any, seed: int, key: str) -> Pass:
    def reason(row: Row) -> str | None:
        is_open = bool(row.get("think_prefilled"))
        finish = row.get("finish_reason")
        return filters.truncated(completion_of(row), finish_reason=finish, think_prefilled=is_open)

    return _dropping(reason)


def _language(options: Any, seed: int, key: str) -> Pass:
    def reason(row: Row) -> str | None:
        language = options.language or language_of(row)
        return filters.mixed_language(thought_of(row), language, min_frac=options.min_frac)

    return _dropping(reason)


def _paragraph(options: Any, seed: int, key: str) -> Pass:
    return _dropping(
        lambda row: filters.long_paragraph(thought_of(row), max_chars=options.max_chars)
    )


def _no_code(options: Any, seed: int, key: str) -> Pass:
    return _dropping(lambda row: filters.code_in_thought(thought_of(row)))


def _repetition(options: Any, seed: int, key: str) -> Pass:
    def reason(row: Row) -> str | None:
        text = f"{thought_of(row)}\n{answer_of(row)}"
        return filters.repeated(text, max_rate=options.max_rate, ngram=options.ngram)

    return _dropping(reason)


def _min_steps(options: Any, seed: int, key: str) -> Pass:
    def reason(row: Row) -> str | None:
        found = len(steps_of(row))
        return f"steps: {found}, under {options.at_least}" if found < options.at_least else None

    return _dropping(reason)


def _duplicates(options: Any, seed: int, key: str) -> Pass:
    duplicates = Duplicates(columns=options.columns, near=options.near)

    def check(row: Row, id: str) -> tuple[Row, str | None]:
        first = duplicates.found(row, id=id)
        return row, None if first is None else f"duplicate: of {first}"

    return check


def _decontaminate(options: Any, seed: int, key: str) -> Pass:
    contamination = Contamination(
        {
            name: _questions(section, key=f"{key}.sets.{name}", seed=seed)
            for name, section in options.sets.items()
        },
        ngram=options.ngram,
    )

    def reason(row: Row) -> str | None:
        name = contamination.found(question_of(row))
        return None if name is None else f"contaminated: {name}"

    return _dropping(reason)


def _questions(section: Any, *, key: str, seed: int) -> list[str]:
    source = open_section(section, section=key, seed=seed)
    check_is_finite(source, section=key)
    tasks = (source.task(i) for i in range(source.num_tasks or 0))
    return [question_of({"prompt": task.prompt}) for task in tasks]


def _domains(options: Any, seed: int, key: str) -> Pass:
    domains = Domains(read_domains(options.keywords), min_keywords=options.min_keywords)

    def tag(row: Row, id: str) -> tuple[Row, str | None]:
        found = domains.of(question_of(row))
        tagged = {**row, "domain": found[0], "domains": found}
        is_wanted = options.only is None or set(found) & set(options.only)
        return tagged, None if is_wanted else f"domain: {', '.join(found)}"

    return tag


def _lay_out(options: Any, seed: int, key: str) -> Pass:
    return _changing(lay_out)


def _system(options: Any, seed: int, key: str) -> Pass:
    return _changing(lambda row: with_system(row, options.by_domain))


def _distractors(options: Any, seed: int, key: str) -> Pass:
    def disturb(row: Row, id: str) -> tuple[Row, str | None]:
        return with_distractors(row, id=id, seed=seed, count=options.count), None

    return disturb


def _caption(options: Any, seed: int, key: str) -> Pass:
    return _changing(lambda row: with_caption(row, options.column))


_MAKERS: Mapping[str, Callable[[Any, int, str], Pass]] = {
    "form": _form,
    "well_formed": _well_formed,
    "whole": _whole,
    "language": _language,
    "paragraph": _paragraph,
    "no_code": _no_code,
    "repetition": _repetition,
    "min_steps": _min_steps,
    "duplicates": _duplicates,
    "decontaminate": _decontaminate,
    "domains": _domains,
    "lay_out": _lay_out,
    "system": _system,
    "distractors": _distractors,
    "caption": _caption,
}
