"""Which completions of rejection sampling become training rows, and why the others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rlvr.data.cleaning import filters
from rlvr.data.cleaning.contamination import Contamination
from rlvr.data.dotted_path import load_function
from rlvr.data.inputs import open_section
from rlvr.stages.sample.sample_config import SampleConfig

__all__ = ["RejectionFilter"]

Row = Mapping[str, Any]


class RejectionFilter:
    """The `keep` section of a recipe, ready to judge."""

    def __init__(self, config: SampleConfig) -> None:
        """Raises ConfigError for an evaluation set or a rewriting function that is not there."""
        self._keep = config.keep
        self._thought_filters = self._make_thought_filters()
        self._contamination = self._read_sets(config.seed)
        self._rewrite: Callable[[dict[str, Any]], dict[str, Any] | None] | None = (
            load_function(config.rewrite, key="rewrite") if config.rewrite else None
        )

    def judge(self, sampled: Sequence[Row]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All rows with pass rate, `kept` and `dropped_because`; and those to train on."""
        rates = self._pass_rates(sampled)
        seen: set[tuple[str, str]] = set()
        num_kept: Counter[str] = Counter()
        rows, kept = [], []
        for row in sampled:
            judged = {**row, "pass_rate": rates[row["task_id"]]}
            reason = self._reason(judged, seen, num_kept)
            training = judged if reason is None else None
            if training is not None and self._rewrite is not None:
                training = self._rewrite(dict(training))
                reason = None if training is not None else "rewrite: the function dropped it"
            rows.append({**judged, "kept": reason is None, "dropped_because": reason})
            if training is not None:
                num_kept[row["task_id"]] += 1
                kept.append({**training, "kept": True, "dropped_because": None})
        return rows, kept

    def _reason(
        self, row: Row, seen: set[tuple[str, str]], num_kept: Mapping[str, int]
    ) -> str | None:
        """The first reason against a row."""
        return next(
            (reason for check in self._checks(seen, num_kept) if (reason := check(row))), None
        )

    def _checks(
        self, seen: set[tuple[str, str]], num_kept: Mapping[str, int]
    ) -> Iterable[Callable[[Row], str | None]]:
        return (
            self._low_score,
            self._truncated,
            *self._thought_filters,
            self._unfit_pass_rate,
            self._contaminated,
            lambda row: self._duplicate(row, seen),
            lambda row: self._too_many(row, num_kept),
        )

    def _low_score(self, row: Row) -> str | None:
        scores = row["scores"]
        at_least = self._keep.at_least
        for name, least in (dict.fromkeys(scores, 1.0) if at_least is None else at_least).items():
            value = scores.get(name, least)  # a reward that is not for the row says nothing
            if value is None or value < least:
                why = row["reasons"].get(name, "")
                return f"{name}: {value} is below {least:g}" + (f" ({why})" if why else "")
        return None

    def _truncated(self, row: Row) -> str | None:
        if self._keep.truncated:
            return None
        return filters.truncated(
            row["completion"],
            finish_reason=row["finish_reason"],
            think_prefilled=row["think_prefilled"],
        )

    def _make_thought_filters(self) -> list[Callable[[Row], str | None]]:
        keep = self._keep
        found: list[Callable[[Row], str | None]] = []
        if keep.one_language is not None:
            least = keep.one_language
            found.append(
                lambda row: filters.mixed_language(
                    row["reasoning_content"] or "", row["language"], min_frac=least
                )
            )
        if keep.max_paragraph_chars is not None:
            longest = keep.max_paragraph_chars
            found.append(
                lambda row: filters.long_paragraph(
                    row["reasoning_content"] or "", max_chars=longest
                )
            )
        if not keep.code_in_thought:
            found.append(lambda row: filters.code_in_thought(row["reasoning_content"] or ""))
        if keep.max_repetition is not None:
            most = keep.max_repetition
            found.append(lambda row: filters.repeated(row["completion"], max_rate=most))
        return found

    def _unfit_pass_rate(self, row: Row) -> str | None:
        if self._keep.pass_rate is None:
            return None
        least, greatest = self._keep.pass_rate
        if least <= row["pass_rate"] <= greatest:
            return None
        return f"pass_rate: {row['pass_rate']:.2f} is not in [{least:g}, {greatest:g}]"

    def _contaminated(self, row: Row) -> str | None:
        name = self._contamination.found(_text(row["prompt"])) if self._contamination else None
        return f"contaminated: the prompt shares words with {name}" if name else None

    def _duplicate(self, row: Row, seen: set[tuple[str, str]]) -> str | None:
        key = (row["task_id"], row["completion"])
        is_new = key not in seen
        seen.add(key)
        return None if is_new or self._keep.duplicates else "duplicate: of a completion of its task"

    def _too_many(self, row: Row, num_kept: Mapping[str, int]) -> str | None:
        most = self._keep.per_task
        if most is None or num_kept[row["task_id"]] < most:
            return None
        return f"per_task: {most} of its task are kept already"

    def _pass_rates(self, rows: Sequence[Row]) -> dict[str, float]:
        """Task -> share of its completions with a score that is high enough."""
        num: Counter[str] = Counter(row["task_id"] for row in rows)
        right = Counter(row["task_id"] for row in rows if self._low_score(row) is None)
        return {task: right[task] / count for task, count in num.items()}

    def _read_sets(self, seed: int) -> Contamination | None:
        sets = {
            name: open_section(section, section=f"keep.decontaminate.{name}", seed=seed)
            for name, section in self._keep.decontaminate.items()
        }
        if not sets:
            return None
        texts = {
            name: [_text(source.task(i).prompt) for i in range(source.num_tasks or 0)]
            for name, source in sets.items()
        }
        return Contamination(texts, ngram=self._keep.ngram)


def _text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(message["content"] for message in prompt if message["role"] == "user")
