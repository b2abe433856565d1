"""`rlvr sample`: rejection sampling (DeepSeek-R1, arXiv 2501.12948, section 2.3.3).

    tasks --engines--> k completions of each --rewards--> sampled.jsonl
    sampled.jsonl --keep--> rows.jsonl (all, with the reason if dropped) --rewrite--> kept.jsonl

Tasks are generated in chunks that depend only on the recipe, and the rows of a chunk are written
together, so that an interrupted run resumes without a missing or a duplicate row.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rlvr.config.sections import SamplingSection
from rlvr.data.cleaning import filters
from rlvr.data.cleaning.overlap import Contamination
from rlvr.data.inputs import Inputs, check_generation, check_is_finite, open_section
from rlvr.data.model_copy import MODEL_COPY, remove_copy
from rlvr.data.rows import load_function
from rlvr.data.samples import sample_row
from rlvr.data.tasks import TaskSource
from rlvr.errors import ConfigError
from rlvr.grpo.rollouts import FIXED_POLICY_VERSION
from rlvr.rollout.engine_requests import SamplingSpec
from rlvr.run.progress import Progress
from rlvr.run.row_log import RowLog, write_rows
from rlvr.run.run_folder import RunFolder, read_json, write_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.sample.sample_config import SampleConfig
from rlvr.types import Task

if TYPE_CHECKING:
    from rlvr.grpo.generation_session import GenerationSession

__all__ = ["STAGE", "RejectionFilter"]

Row = Mapping[str, Any]

MAX_CHUNKS_AT_ONCE = 2  # one is graded while the next is generated


def _check(config: SampleConfig) -> Inputs:
    inputs = check_generation(config, config.tasks, config.rewards)
    check_is_finite(inputs.tasks, section="tasks")
    RejectionFilter(config)  # checks its evaluation sets and rewriting function
    if config.keep.one_language is not None and "language" not in inputs.tasks.task(0).columns:
        raise ConfigError(
            "keep.one_language: the tasks have no column 'language'; map one with "
            "tasks.columns.language=COLUMN or leave the filter out"
        )
    return inputs


def _preflight(config: SampleConfig, folder: RunFolder, inputs: Inputs) -> Inputs:
    from rlvr.grpo.preflight import run_preflight

    checked = run_preflight(config, folder, inputs, {"tasks": config.tasks})
    return replace(checked, tasks=checked.sources["tasks"])


def _run(config: SampleConfig, folder: RunFolder, inputs: Inputs) -> None:
    """Generate the missing completions and filter all of them.

    Raises:
        RLVRError: Stopped, a dead actor, or wrong user input.
    """
    log = RowLog(folder.path / "sampled.jsonl")
    chunks = _chunks(inputs.tasks, config.rollout)

    def missing() -> list[int]:
        written = {row["task_id"] for row in log.rows}
        return [i for i, chunk in enumerate(chunks) if chunk[0].id not in written]

    if missing():
        from rlvr.grpo.generation_session import run_session

        async def work(session: GenerationSession) -> None:
            await _generate(config, session, chunks, missing(), log)

        run_session(config, folder, inputs, work)
        remove_copy(folder.path / MODEL_COPY)
    order = {task.id: i for i, task in enumerate(task for chunk in chunks for task in chunk)}
    sampled = sorted(log.rows, key=lambda row: order[row["task_id"]])
    rows, kept = RejectionFilter(config).judge(sampled)
    write_rows(folder.path / "rows.jsonl", rows)
    write_rows(folder.path / "kept.jsonl", kept)
    write_json(folder.summary, _summary(rows, kept))


async def _generate(
    config: SampleConfig,
    session: GenerationSession,
    chunks: Sequence[Sequence[Task]],
    missing: Sequence[int],
    log: RowLog,
) -> None:
    rollout = config.rollout
    sampling = SamplingSpec(
        temperature=rollout.temperature,
        max_tokens=rollout.max_tokens,
        stop=tuple(rollout.stop),
        stop_token_ids=session.stop_token_ids,
        top_p=rollout.top_p,
    )
    slots = asyncio.Semaphore(MAX_CHUNKS_AT_ONCE)
    num_done = len(chunks) - len(missing)
    progress = Progress("parts", total=len(chunks), first=num_done)

    async def generate(number: int) -> None:
        nonlocal num_done
        async with slots:
            rollouts = await session.collector.collect(
                chunks[number],
                group_size=rollout.group_size,
                sampling=sampling,
                policy_version=FIXED_POLICY_VERSION,
                seed_parts=("sample", number),
            )
        log.append(
            sample_row(group.task, one, number=k, think_prefilled=session.encoder.think_prefilled)
            for group in rollouts.groups
            for k, one in enumerate(group.rollouts)
        )
        num_done += 1
        progress.update(num_done, f"{len(log.rows)} completions")

    try:
        with progress:
            async with asyncio.TaskGroup() as tasks:
                for number in missing:
                    tasks.create_task(generate(number))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _chunks(source: TaskSource, rollout: SamplingSection) -> list[list[Task]]:
    """Split all tasks, in order, into chunks that keep every engine busy."""
    tasks = [source.task(i) for i in range(source.num_tasks or 0)]
    size = max(1, 2 * rollout.num_engines * rollout.max_concurrent // rollout.group_size)
    return [tasks[first : first + size] for first in range(0, len(tasks), size)]


def _summary(rows: Sequence[Row], kept: Sequence[Row]) -> dict[str, Any]:
    """Count the rows; a dropped one counts under the first word of its reason."""
    reasons = Counter(
        str(row["dropped_because"]).partition(":")[0] for row in rows if not row["kept"]
    )
    return {
        "num_tasks": len({row["task_id"] for row in rows}),
        "num_tasks_kept": len({row["task_id"] for row in kept}),
        "num_rows": len(rows),
        "num_kept": len(kept),
        "dropped": dict(reasons.most_common()),
        "kept_by_kind": _counts(kept, "kind"),
        "kept_by_language": _counts(kept, "language"),
        "mean_pass_rate": sum(row["pass_rate"] for row in rows) / len(rows),
    }


def _counts(rows: Sequence[Row], column: str) -> dict[str, int]:
    return dict(Counter(str(row[column]) for row in rows if column in row))


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


def _closing(config: SampleConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    dropped = ", ".join(f"{name} {count}" for name, count in summary["dropped"].items())
    return (
        f"{folder.path / 'kept.jsonl'}: {summary['num_kept']} of {summary['num_rows']} "
        f"completions, of {summary['num_tasks_kept']} of {summary['num_tasks']} tasks; dropped: "
        f"{dropped or 'none'}"
    )


STAGE = Stage(
    schema=SampleConfig,
    check=_check,
    preflight=_preflight,
    run=_run,
    closing=_closing,
    work=("sampled.jsonl",),
)
