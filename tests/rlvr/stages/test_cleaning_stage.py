# ruff: noqa: RUF001 - Chinese punctuation is meant
"""`rlvr clean`, from rows to rows; back-translation with a teacher on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlvr.cli import main

GOOD = {
    "context": "某银行上调利率。",
    "task_desc": "分析影响。",
    "steps": ["债券的价格下降", "贷款变得更贵", "企业减少投资"],
    "answer": "经济放缓",
}
ROWS = [
    GOOD,
    {**GOOD, "context": "某 银行上调利率。"},
    {**GOOD, "context": "少", "steps": ["一步", "两步"]},
    {**GOOD, "context": "重复", "steps": ["好的好的好的好的好的"] * 9},
    {**GOOD, "context": "What is 12+30, Tom asked his friend Ann on Monday?"},
    {**GOOD, "answer": ["3"]},
    {**GOOD, "context": "原告和被告签了合同。", "answer": "合同有效"},
]
PASSES: list[Any] = [
    "form",
    {"min_steps": {"at_least": 3}},
    {"repetition": None},
    "duplicates",
    {"decontaminate": {"sets": {"quiz": {"source": "jsonl", "path": "quiz.jsonl"}}}},
    "domains",
    "lay_out",
]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "data.jsonl", ROWS)
    quiz = "Now: what is 12+30, Tom asked. His friend Ann knew."
    write_jsonl(tmp_path / "quiz.jsonl", [{"prompt": quiz, "answer": "42"}])
    return tmp_path


def cleaned(passes: list[Any] = PASSES, **more: Any) -> int:
    recipe = {"name": "cleaned", "stage": "clean", "data": "data.jsonl", "passes": passes, **more}
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True))
    return main(["clean", "recipe.yaml"])


def test_each_row_is_kept_or_has_its_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cleaned() == 0
    rows = read_jsonl(folder / "runs/cleaned/rows.jsonl")
    assert [row["dropped_because"] for row in rows] == [
        None,
        "duplicate: of data/1",
        "steps: 2, under 3",
        "repetition: rate 0.93, over 0.7",  # 6 different of 92 in the steps and the answer
        "contaminated: quiz",
        "form: answer is a list, neither text nor a number",
        None,
    ]
    kept = read_jsonl(folder / "runs/cleaned/kept.jsonl")
    assert [row["id"] for row in kept] == ["data/1", "data/7"]
    assert kept[0]["prompt"] == "某银行上调利率。\n\n推理要求：分析影响。"
    assert kept[0]["content"] == "经济放缓"
    assert "推理要求：分析影响。" in (folder / "runs/cleaned/kept.jsonl").read_text()
    summary = json.loads((folder / "runs/cleaned/summary.json").read_text())
    assert (summary["num_rows"], summary["num_kept"]) == (7, 2)
    assert summary["dropped"]["duplicates"] == summary["dropped"]["min_steps"] == 1
    assert summary["domains_kept"] == {
        "rows": {"finance": 1, "law": 1},
        "smallest_to_largest": 1.0,
    }
    assert "2 of 7 rows kept" in capsys.readouterr().out
    manifest = json.loads((folder / "runs/cleaned/manifest.json").read_text())
    assert set(manifest["inputs"]) == {"data", "passes.4.decontaminate.sets.quiz.path"}


def test_a_finished_run_is_not_repeated_and_a_repeated_one_is_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cleaned() == 0
    first = (folder / "runs/cleaned/rows.jsonl").read_bytes()
    assert cleaned() == 0
    assert "is finished" in capsys.readouterr().out
    (folder / "runs/cleaned/summary.json").unlink()  # as if it had been killed
    assert cleaned() == 0
    assert (folder / "runs/cleaned/rows.jsonl").read_bytes() == first


def test_rows_that_an_earlier_stage_dropped_are_not_read(folder: Path) -> None:
    rows = [{**GOOD, "id": "a", "kept": True}, {**GOOD, "id": "b", "kept": False}]
    write_jsonl(folder / "data.jsonl", rows)
    assert cleaned(["form"]) == 0
    assert [row["id"] for row in read_jsonl(folder / "runs/cleaned/rows.jsonl")] == ["a"]


@pytest.mark.parametrize(
    ("passes", "line"),
    [
        (
            [{"form": {"stop": True}}],
            "row data/6: form: answer is a list, neither text nor a number",
        ),
        ([{"form": {}, "whole": {}}], "a pass is one of form, well_formed"),
        ([{"min_stepz": {}}], "unknown key passes.0.min_stepz"),
        ([{"language": {"language": "klingon"}}], "passes.0.language.language: 'klingon'"),
        (
            [{"decontaminate": {"sets": {"x": {"source": "jsonl", "path": "no.jsonl"}}}}],
            "passes.0.decontaminate.sets.x.path: there is no file no.jsonl",
        ),
        ([{"domains": {"keywords": "no.yaml"}}], "no.yaml: cannot be read"),
    ],
)
def test_an_error_is_one_line(
    passes: list[Any], line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cleaned(passes) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_repeated_ids_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(folder / "data.jsonl", [{**GOOD, "id": "a"}, {**GOOD, "id": "a"}])
    assert cleaned(["form"]) == 2
    assert "data.jsonl:2: an earlier row has the id 'a' too" in capsys.readouterr().err


REPLIES = {
    "小明有3支笔，又买来4支。现在有多少？": "Tom has 3 pens and buys 4. How many now?",
    "Tom has 3 pens and buys 4. How many now?": "汤姆有3支笔，又买了4支。一共几支？",
    "汤姆有3支笔，又买了4支。一共几支？": "<think>3+4=7</think>\\boxed{7}",
    "小红有9个蛋，丢了2个。现在有多少？": "Lily has 9 eggs and finds 2. How many now?",
    "Lily has 9 eggs and finds 2. How many now?": "莉莉有9个蛋，又找到2个。一共几个？",
    "莉莉有9个蛋，又找到2个。一共几个？": "<think>9+2=11</think>\\boxed{11}",
}
CHINESE = [
    {"id": "a", "prompt": "小明有3支笔，又买来4支。现在有多少？", "content": "7", "answer": "7"},
    {"id": "b", "prompt": "小红有9个蛋，丢了2个。现在有多少？", "content": "7", "answer": "7"},
    {"id": "c", "prompt": "What is 2+3?", "content": "5", "answer": "5"},
]


@contextmanager
def teaching() -> Iterator[tuple[str, list[str]]]:
    """Address of a teacher that knows these replies alone, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = body["messages"][-1]["content"].rpartition("\n\n")[2]
            asked.append(question)
            message = {"role": "assistant", "content": REPLIES[question]}
            reply = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply.encode())))
            self.end_headers()
            self.wfile.write(reply.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked
        finally:
            server.shutdown()
            thread.join()


def test_a_back_translated_question_must_keep_its_answer(folder: Path) -> None:
    write_jsonl(folder / "data.jsonl", CHINESE)
    with teaching() as (url, asked):
        teacher = {"endpoints": [{"url": url, "model": "m"}]}
        section = {"teacher": teacher, "sampling": {"max_tokens": 64}}
        assert cleaned([], back_translation=section) == 0
        rows = {row["id"]: row for row in read_jsonl(folder / "runs/cleaned/rows.jsonl")}
        assert list(rows) == ["a", "b", "c", "a#back", "b#back"]
        new = rows["a#back"]
        assert (new["prompt"], new["answer"]) == ("汤姆有3支笔，又买了4支。一共几支？", "7")
        assert (new["reasoning_content"], new["content"]) == ("3+4=7", "\\boxed{7}")
        assert rows["b#back"]["dropped_because"].startswith("back_translation: the answer changed")
        kept = [row["id"] for row in read_jsonl(folder / "runs/cleaned/kept.jsonl")]
        assert kept == ["a", "b", "c", "a#back"]
        # as if it had been killed when one row was back: the other alone is asked for
        log = folder / "runs/cleaned/back_translated.jsonl"
        (folder / "runs/cleaned/summary.json").unlink()
        [first] = [line for line in log.read_text().splitlines() if '"a#back"' in line]
        log.write_text(first + "\n" + first[:20])
        asked.clear()
        assert cleaned([], back_translation=section) == 0
        assert len(asked) == 3
        again = {row["id"]: row for row in read_jsonl(folder / "runs/cleaned/rows.jsonl")}
        assert again == rows
