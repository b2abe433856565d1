"""Reports as Markdown and HTML, the comparison stage, and its input errors."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rlvr.errors import ConfigError
from rlvr.evaluation.compare_stage import STAGE
from rlvr.evaluation.eval_report import (
    count,
    metric_rows,
    number,
    paper_table,
    percent,
    share,
    shown_completion,
)
from rlvr.report.document import Heading, Quote, Table, Text, to_html, to_markdown
from rlvr.run.stage_protocol import run_stage

VOID = {"meta", "br", "hr", "img", "link"}


class Structure(HTMLParser):
    """Checks that tags are nested; keeps text and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (share(0.75), "0.750"),
        (share(0.75, 0.0411), "0.750 ± 0.041"),
        (share(0.75, 0.01, times=1.96), "0.750 ± 0.020"),
        (share(None, 0.1), "-"),
        (percent(0.125), "12.5%"),
        (number(1234.56), "1,234.6"),
        (count(1234.56), "1,235"),
        (number(None), "-"),
    ],
)
def test_numbers_are_shown_the_same_everywhere(shown: str, text: str) -> None:
    assert shown == text


def test_a_table_is_aligned_and_its_bars_are_escaped() -> None:
    table = Table(("", "a|b"), [("first", "1"), ("second row", "22")])
    assert to_markdown([Heading("T", 1), table, Text("Done.")]) == (
        "# T\n\n"
        "|            | a\\|b |\n"
        "|------------|-----:|\n"
        "| first      |    1 |\n"
        "| second row |   22 |\n\n"
        "Done.\n"
    )


def test_a_quote_with_a_fence_gets_a_longer_one() -> None:
    text = to_markdown([Quote([("model", "```python\nx\n```")])])
    assert text == "**model**\n\n````text\n```python\nx\n```\n````\n"


def test_a_page_is_valid_escaped_and_self_contained() -> None:
    hostile = "<script>alert(1)</script> & </pre>"
    blocks = [
        Heading(hostile, 1),
        Text(hostile),
        Table(("", hostile), [(hostile, "1")]),
        Quote([(hostile, hostile), ("b", "\n  indented")]),
    ]
    page = to_html(blocks, title=hostile)
    found = Structure(page)
    assert "script" not in found.tags and "".join(found.text).count(hostile) == 7
    assert not [name for name, _ in found.attributes if name in ("src", "href", "onclick")]
    assert "http" not in page and "color-scheme: light dark" in page
    assert page.startswith("<!DOCTYPE html>")


def test_the_tables_of_the_paper_are_complete() -> None:
    stages, distilled = paper_table("r1_stages"), paper_table("distilled")
    assert stages["rows"]["DeepSeek-R1"][0] == 79.8
    assert distilled["rows"]["R1-Distill-Qwen-1.5B"][:3] == [28.9, 52.7, 83.9]
    for table in (stages, distilled):
        assert {len(values) for values in table["rows"].values()} == {len(table["columns"])}


def test_hidden_reasoning_is_replaced_by_its_length() -> None:
    row = {
        "completion": "<think>long</think>5",
        "reasoning_content": "long",
        "content": "5",
        "thought_tokens": 1200,
    }
    assert shown_completion(row, hide_thought=False) == "<think>long</think>5"
    assert shown_completion(row, hide_thought=True) == "[thought of 1,200 tokens]\n5"
    assert shown_completion(row, hide_thought=False, max_chars=6) == "<think [...]"


METRICS: dict[str, Any] = {
    "num_tasks": 2,
    "num_samples": 2,
    "pass_at_1": 0.25,
    "pass_at_1_stderr": 0.25,
    "pass_at_2": 0.5,
    "cons_at_k": None,
    "cons_at_k_stderr": None,
    "format_frac": 1.0,
    "format_stderr": 0.0,
    "think_frac": 1.0,
    "truncated_frac": 0.0,
    "budget_closed_frac": 0.0,
    "tokens_mean": 10.0,
    "thought_tokens_mean": 6.0,
    "answer_tokens_mean": 2.0,
    "tokens_per_correct": 40.0,
    "seconds": 2.0,
    "repetition_mean": 0.0,
    "language_mixing_mean": None,
    "mixed_frac": None,
    "readable_frac": 1.0,
    "reflection_words_mean": 0.5,
    "bullet_frac": 0.0,
    "paragraphs_mean": 1.0,
    "step_correctness": None,
    "key_point_coverage": None,
}


def test_rows_without_any_number_are_left_out() -> None:
    names = [name for name, *_ in metric_rows([METRICS, METRICS])]
    assert "pass@2" in names and "cons@k" not in names and "right steps" not in names
    after = METRICS | {"step_correctness": 0.5}
    assert ("right steps", "-", "50.0%") in list(metric_rows([METRICS, after]))


def finished(folder: Path, *, answer: str, right: bool, **metrics: Any) -> Path:
    """A small finished evaluation."""
    folder.mkdir()
    strategy = {
        "accuracy": 0.25,
        "accuracy_stderr": 0.1,
        "samples": 1,
        "tokens_per_task": 10.0,
        "tokens_per_correct": 40.0,
        "seconds_per_task": 0.5,
    }
    summary = {
        "name": folder.name,
        "model": "m",
        "suites": {"math": METRICS | metrics},
        "strategies": {"math": {"plain": strategy}},
    }
    rows = [
        {
            "id": f"n/{i}",
            "suite": "math",
            "strategy": "plain",
            "sample_index": k,
            "prompt": f"What is {i}+1?",
            "reasoning_content": "so",
            "content": answer,
            "completion": f"<think>so</think>{answer}",
            "is_right": right,
            "thought_tokens": 1,
            "answer_tokens": 2,
        }
        for i in (10, 2)
        for k in (0, 1)
    ]
    (folder / "config.yaml").write_text("stage: eval\n", encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    before = finished(tmp_path / "before", answer="no idea <b>", right=False)
    after = finished(tmp_path / "after", answer="3", right=True, pass_at_1=0.75)
    path = tmp_path / "compare.yaml"
    path.write_text(
        f"stage: compare\nname: both\noutput_dir: {tmp_path}\ntitle: Two models\n"
        f"folders: {{base: {before}, tuned: {after}}}\nnum_prompts: 1\n",
        encoding="utf-8",
    )
    return path


def test_two_evaluations_stand_side_by_side(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # it may be made again
        assert run_stage(STAGE, str(recipe), ["paper=[r1_stages]"]) == 0
    printed = capsys.readouterr().out
    folder = recipe.parent / "both"
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert markdown in printed
    assert "| base  | 0.250 ± 0.250 |   10.0 |   0.500 |" in markdown
    assert "| tuned | 0.750 ± 0.250 |   10.0 |   0.500 |" in markdown
    assert "n/2: What is 2+1?" in markdown and "n/10" not in markdown  # the first in their order
    assert "**base: not right, thought 1 tokens, answer 2**" in markdown
    assert "**tuned: right, thought 1 tokens, answer 2**" in markdown
    assert "| base, math, plain  |" in markdown and "| DeepSeek-R1 (paper) " in markdown
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "no idea <b>" in "".join(Structure(page).text)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["inputs"]) == {"folders.base", "folders.tuned"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["folders={}"], "folders or models: there is nothing to compare"),
        (["models={base: m}", "evaluation=e.yaml"], "the label 'base' is also in folders"),
        (
            ["models={new: m}"],
            "models: add evaluation: RECIPE",
        ),
        (["models={new: m}", "evaluation=/no/e.yaml"], "/no/e.yaml: no such recipe"),
    ],
)
def test_an_invalid_comparison_is_refused(recipe: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        run_stage(STAGE, str(recipe), overrides)
    assert said in str(refused.value)


def test_a_folder_without_a_finished_evaluation_is_refused(recipe: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(ConfigError) as refused:
            run_stage(STAGE, str(recipe), [f"folders.base={path}"])
        assert "\n" not in str(refused.value)
        return str(refused.value)

    assert "folders.base: /nowhere is not a run folder" in refusal(Path("/nowhere"))
    before = recipe.parent / "before"
    (before / "rows.jsonl").unlink()
    assert "is the folder of another stage" in refusal(before)
    (before / "summary.json").unlink()
    assert "is not finished; the same `rlvr eval` resumes it" in refusal(before)


def test_a_comparison_with_a_wrong_model_does_not_claim_its_folder(tmp_path: Path) -> None:
    """The corrected recipe runs in the same folder."""
    evaluation = tmp_path / "eval.yaml"
    evaluation.write_text(
        "stage: eval\nname: e\nmodel: {path: m}\nrewards: {accuracy: 1.0}\n"
        "suites: {toy: {tasks: {source: toy, split: heldout, num_tasks: 2}}}\n"
    )
    recipe = tmp_path / "compare.yaml"
    recipe.write_text(
        f"stage: compare\nname: both\noutput_dir: {tmp_path}\ntitle: t\n"
        f"evaluation: {evaluation}\nmodels: {{a: {tmp_path}/no-model}}\n"
    )
    with pytest.raises(ConfigError, match="no-model"):
        run_stage(STAGE, str(recipe), [])
    assert not (tmp_path / "both" / "config.yaml").exists()
