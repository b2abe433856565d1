"""The filter of rejection sampling: which completions become training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rlvr.data.cleaning import filters
from rlvr.data.cleaning.overlap import Contamination
from rlvr.data.inputs import open_section
from rlvr.data.rows import load_function
from rlvr.stages.sample.sample_config import SampleConfig

__all__ = ["RejectionFilter"]

Row = Mapping[str, Any]


class RejectionFilter:
    """Applies the `keep` and `rewrite` keys of a recipe."""

    def __init__(self, config: SampleConfig) -> None:
        """Raises ConfigError for a missing evaluation set or rewriting function."""
        self._keep = config.keep
        self._contamination = self._read_evaluation_sets(config.seed)
        self._rewrite: Callable[[dict[str, Any]], dict[str, Any] | None] | None = (
            load_function(config.rewrite, key="rewrite") if config.rewrite else None
        )

    def judge(self, sampled: Sequence[Row]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return all rows with pass_rate, kept and dropped_because; and the rows to train on."""
        rates = self._pass_rates(sampled)
        seen: set[tuple[str, str]] = set()
        num_kept: Counter[str] = Counter()
        rows, kept = [], []
        for row in sampled:
            judged = {**row, "pass_rate": rates[row["task_id"]]}
            reason = next(filter(None, self._reasons(judged, seen, num_kept)), None)
            training = judged if reason is None else None
            if training is not None and self._rewrite is not None:
                training = self._rewrite(dict(training))
                reason = None if training is not None else "rewrite: the function dropped it"
            rows.append({**judged, "kept": reason is None, "dropped_because": reason})
            if training is not None:
                num_kept[row["task_id"]] += 1
                kept.append({**training, "kept": True, "dropped_because": None})
        return rows, kept

    def _reasons(
        self, row: Row, seen: set[tuple[str, str]], num_kept: Mapping[str, int]
    ) -> Iterator[str | None]:
        """Apply one filter after the other; yield its reason to drop the row, or None."""
        keep, reasoning = self._keep, row["reasoning_content"] or ""
        yield self._low_score(row)
        if not keep.truncated:
            yield filters.truncated(
                row["completion"],
                finish_reason=row["finish_reason"],
                think_prefilled=row["think_prefilled"],
            )
        if keep.one_language is not None:
            yield filters.mixed_language(reasoning, row["language"], min_frac=keep.one_language)
        if keep.max_paragraph_chars is not None:
            yield filters.long_paragraph(reasoning, max_chars=keep.max_paragraph_chars)
        if not keep.code_in_thought:
            yield filters.code_in_thought(reasoning)
        if keep.max_repetition is not None:
            yield filters.repeated(row["completion"], max_rate=keep.max_repetition)
        if keep.pass_rate is not None:
            least, greatest = keep.pass_rate
            if not least <= row["pass_rate"] <= greatest:
                yield f"pass_rate: {row['pass_rate']:.2f} is not in [{least:g}, {greatest:g}]"
        if self._contamination and (name := self._contamination.found(_user_text(row["prompt"]))):
            yield f"contaminated: the prompt shares words with {name}"
        key = (row["task_id"], row["completion"])
        if key in seen and not keep.duplicates:
            yield "duplicate: of a completion of its task"
        seen.add(key)
        if keep.per_task is not None and num_kept[row["task_id"]] >= keep.per_task:
            yield f"per_task: {keep.per_task} of its task are kept already"

    def _low_score(self, row: Row) -> str | None:
        scores = row["scores"]
        at_least = self._keep.at_least
        for name, least in (dict.fromkeys(scores, 1.0) if at_least is None else at_least).items():
            value = scores.get(name, least)  # a reward that does not apply to the row passes
            if value is None or value < least:
                why = row["reasons"].get(name, "")
                return f"{name}: {value} is below {least:g}" + (f" ({why})" if why else "")
        return None

    def _pass_rates(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return for each task the share of its completions whose scores are high enough."""
        num: Counter[str] = Counter(row["task_id"] for row in rows)
        passed = Counter(row["task_id"] for row in rows if self._low_score(row) is None)
        return {task: passed[task] / count for task, count in num.items()}

    def _read_evaluation_sets(self, seed: int) -> Contamination | None:
        texts = {}
        for name, section in self._keep.decontaminate.items():
            source = open_section(section, section=f"keep.decontaminate.{name}", seed=seed)
            tasks = [source.task(i) for i in range(source.num_tasks or 0)]
            texts[name] = [_user_text(task.prompt) for task in tasks]
        return Contamination(texts, ngram=self._keep.ngram) if texts else None


def _user_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(message["content"] for message in prompt if message["role"] == "user")
