"""Prompts that are too long: found before a run, and refused, left out or shortened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from letter_tokenizer import LetterTokenizer

from rlvr.data.prompt_lengths import fit_prompts, measure_prompts, shortened
from rlvr.data.prompts import TemplateEncoder, make_template
from rlvr.data.tasks import TaskList, TaskSource, open_tasks
from rlvr.errors import ConfigError
from rlvr.types import Task

LIMIT = 20  # "Q: {prompt} A:" and a begin token leave 13 letters


def encoder_of(template: str = "Q: {prompt} A:", limit: int = LIMIT) -> TemplateEncoder:
    return TemplateEncoder(make_template(template), LetterTokenizer(), limit)


def rows(tmp_path: Path, *prompts: Any) -> TaskSource:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return open_tasks("jsonl", path=str(path))


def fit(source: TaskSource, policy: str, **options: Any) -> tuple[list[Any], str]:
    fitted, line = fit_prompts(source, encoder_of(**options), policy=policy, section="tasks")  # type: ignore[arg-type]
    assert fitted.num_tasks is not None
    return [fitted.task(i).prompt for i in range(fitted.num_tasks)], line


def refusal(source: TaskSource, policy: str = "error", **options: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        fit_prompts(source, encoder_of(**options), policy=policy, section="tasks")  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    return str(refused.value)


LONG, LONGER = "a" * 13 + "?", "b" * 30 + "?"  # 21 and 38 tokens
SHORT = ["c" * 12 + "?", "d?"]  # 20 and 9 tokens


@pytest.mark.parametrize("policy", ["error", "filter", "truncate"])
def test_prompts_of_the_longest_allowed_length_stay_as_they_are(
    tmp_path: Path, policy: str
) -> None:
    source = rows(tmp_path, *SHORT)
    fitted, line = fit_prompts(source, encoder_of(), policy=policy, section="tasks")  # type: ignore[arg-type]
    assert fitted is source
    assert line == "tasks: 2 prompts, the longest of 20 tokens (limit 20)"


def test_long_prompts_are_counted_and_named_by_file_and_line(tmp_path: Path) -> None:
    source = rows(tmp_path, "d?", LONG, SHORT[0], LONGER)
    path = tmp_path / "rows.jsonl"
    assert refusal(source) == (
        f"tasks: 2 of 4 prompts exceed rollout.max_prompt_tokens=20: {path}:2 (21 tokens), "
        f"{path}:4 (38 tokens); raise it, or set tasks.long_prompts=filter (or truncate)"
    )
    assert ", ...; raise it" in refusal(rows(tmp_path, *[LONG] * 5))


def test_filter_leaves_the_others_in_their_order_with_their_ids(tmp_path: Path) -> None:
    source = rows(tmp_path, SHORT[0], LONG, SHORT[1])
    fitted, line = fit_prompts(source, encoder_of(), policy="filter", section="tasks")
    assert [fitted.task(i).id for i in (0, 1)] == ["jsonl/1", "jsonl/3"]
    assert fitted.num_tasks == 2
    assert line.endswith("rows.jsonl:2 (21 tokens); left out")
    assert "filter leaves no task" in refusal(rows(tmp_path, LONG), "filter")


def test_truncate_keeps_the_end_of_the_text_and_the_whole_template(tmp_path: Path) -> None:
    prompts, line = fit(rows(tmp_path, SHORT[1], LONGER), "truncate")
    assert prompts[0] == SHORT[1]
    assert LONGER.endswith(prompts[1]) and len(prompts[1]) == 13
    text = encoder_of().text(Task(id="t", prompt=prompts[1]))
    assert text.startswith("Q: b") and text.endswith("? A:")
    assert line.endswith("; the start of their text is dropped")


def test_the_last_message_of_a_conversation_is_shortened(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "user", "content": "a" * 50 + "?"}]
    (prompt,), _ = fit(rows(tmp_path, turns), "truncate", template="chat", limit=40)
    assert prompt[0] == turns[0]
    # <s>[user]x[user]...[assistant]: 25 tokens around it; the estimate of the rest is one too high
    assert prompt[1] == {"role": "user", "content": "a" * 13 + "?"}


def test_a_template_that_is_too_long_by_itself_is_refused(tmp_path: Path) -> None:
    line = refusal(rows(tmp_path, "hello"), "truncate", limit=6)
    assert "task jsonl/1: 7 of at most 6 prompt tokens belong to the template" in line


def test_the_first_prompts_of_an_endless_source_are_measured() -> None:
    toy = open_tasks("toy")
    longest = max(len(str(toy.task(i).prompt)) for i in range(1000)) + 7
    _, line = fit_prompts(toy, encoder_of(limit=99), policy="error", section="tasks")
    assert line == f"tasks: the first 1,000 prompts, the longest of {longest} tokens (limit 99)"
    said = refusal(toy, "filter", limit=20)
    assert said.endswith("set tasks.num_tasks, so that tasks.long_prompts=filter knows all tasks")


class CountingEncoder(TemplateEncoder):
    """Counts the prompts that are encoded."""

    num_encoded = 0

    def prompt_lengths(self, tasks: Any) -> list[int]:
        self.num_encoded += len(tasks)
        return TemplateEncoder.prompt_lengths(self, tasks)


def test_prompts_that_are_short_in_bytes_are_not_encoded() -> None:
    tasks = [Task(id=f"t/{i}", prompt="x" * (1 + i % 10)) for i in range(3000)]
    source = TaskList(name="t", tasks=(*tasks, Task(id="long", prompt=LONG)))
    encoder = CountingEncoder(make_template("Q: {prompt} A:"), LetterTokenizer(), LIMIT)
    found = measure_prompts(source, encoder)
    assert (found.num_tasks, found.longest, dict(found.long)) == (3001, 21, {3000: 21})
    assert encoder.num_encoded == 1000


def test_the_search_ends_when_its_time_is_over_and_says_so() -> None:
    tasks = tuple(Task(id=f"t/{i}", prompt=LONG) for i in range(2000))
    found = measure_prompts(TaskList(name="t", tasks=tasks), encoder_of(), seconds=0.0)
    assert not found.is_complete and len(found.long) == 512


def test_a_shortened_task_is_otherwise_the_same() -> None:
    task = Task(id="t/1", prompt=LONGER, columns={"answer": "5"})
    short = shortened(task, encoder_of(), num_tokens=38, section="tasks")
    assert (short.id, short.columns) == (task.id, task.columns)
