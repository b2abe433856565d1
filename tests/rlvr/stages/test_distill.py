"""`rlvr distill` from recipe to files, against a real server on loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from distill_runs import distillation, patient, read_jsonl, write_jsonl
from loopback_teacher import Ask, Fails, Hangs, LoopbackTeacher, Resets, Says

from rlvr.data.formats import read_samples
from rlvr.errors import ConfigError, RLVRError
from rlvr.teacher.teacher_prompts import hash_of

SUMS = [{"prompt": f"{i}+1?", "answer": str(i + 1)} for i in range(6)]
KEY = "sk-Very-Secret-1"


def right(ask: Ask) -> Says:
    """The sum, but wrong by one for 0+1 and without a box for 1+1."""
    number = int(ask.text.partition("+")[0])
    if number == 1:
        return Says("it is two", thought="hm")
    return Says(rf"\boxed{{{number + 1 + (number == 0)}}}", thought=f"{number} and 1")


def judge(score: float) -> LoopbackTeacher:
    said = {"reason": "so", "correct": score == 10, "score": score}
    axes = dict.fromkeys(("harmlessness", "usefulness", "correctness"), score)
    return LoopbackTeacher(lambda ask: Says(json.dumps({**said, **axes})))


def test_a_recipe_becomes_rows_with_scores_and_those_that_are_kept(tmp_path: Path) -> None:
    with LoopbackTeacher(right) as server, judge(10) as second:
        run = distillation(
            tmp_path,
            SUMS,
            patient(server),
            scoring={"judge": patient(second)},
            filter={"min_score": 5},
            export=["alpaca", "sharegpt", "messages"],
        )
        assert run.run() == 0
        assert (server.num_calls, second.num_calls) == (6, 1)
    rows, kept = run.rows(), run.rows("kept")
    assert [row["id"] for row in rows] == [f"jsonl/{i}#0" for i in range(1, 7)]
    assert [row["score"] for row in rows] == [0, 10, 10, 10, 10, 10]
    assert [row["scored_by"] for row in rows] == ["rule", "judge", *["rule"] * 4]
    assert rows[0]["dropped_because"] == "score: 0 is below 5"
    assert kept == [row for row in rows if row["kept"]] == rows[1:]
    first = rows[0]
    assert first["prompt"] == "0+1?" and first["answer"] == "1"
    assert (first["reasoning_content"], first["content"]) == ("0 and 1", r"\boxed{2}")
    assert (first["repo_name"], first["prompt_tokens_len"], first["endpoint"]) == (
        "jsonl",
        11,
        "t0",
    )
    lengths = first["reasoning_content_tokens_len"] + first["content_tokens_len"]
    assert lengths == 20
    assert first["prompt_sha256"] == hash_of([{"role": "user", "content": "0+1?"}])
    prompt = json.loads((run.folder / "prompt.json").read_text())
    assert prompt["sha256"] == first["template_sha256"]
    for name in ("alpaca", "sharegpt", "messages"):
        again = list(read_samples(f"{run.folder / 'export'}#run_{name}"))
        assert again == [{key: row[key] for key in again[0]} for row in kept]
    assert list(read_samples(str(run.folder / "kept.jsonl"))) == kept
    assert run.summary["num_kept"] == 5
    assert run.summary["dropped"] == {"score": 1}
    assert run.summary["scored_by"] == {"rule": 5, "judge": 1}
    assert run.summary["usage"]["teacher t0"] == {
        "replies": 6,
        "prompt_tokens": 66,
        "completion_tokens": 120,
    }
    assert len(run.rows("usage")) == 7
    manifest = json.loads((run.folder / "manifest.json").read_text())
    assert manifest["counts"] == {"num_rows": 6, "num_kept": 5}
    assert list(manifest["inputs"]) == ["tasks.path"]


def test_a_finished_run_makes_no_calls_and_its_threshold_may_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"0+1?": 3, "1+1?": 5, "2+1?": 6, "3+1?": 8, "4+1?": 9, "5+1?": 10}

    def judging(ask: Ask) -> Says:
        score = next(value for text, value in scores.items() if text in ask.text)
        keys = ("harmlessness", "usefulness", "correctness", "score")
        return Says(json.dumps(dict.fromkeys(keys, score)))

    with LoopbackTeacher(right) as server, LoopbackTeacher(judging) as second:
        tasks = [{"prompt": row["prompt"]} for row in SUMS]
        run = distillation(tmp_path, tasks, patient(server), scoring={"judge": patient(second)})
        kept = {}
        for least in (5, 8):
            assert run.run(f"filter.min_score={least}") == 0
            kept[least] = {row["prompt"] for row in run.rows("kept")}
        assert run.run("filter.min_score=8") == 0
        assert (server.num_calls, second.num_calls) == (6, 6)
    assert kept[5] == {"1+1?", "2+1?", "3+1?", "4+1?", "5+1?"}
    assert kept[8] == {"3+1?", "4+1?", "5+1?"} < kept[5]
    assert [row["score"] for row in run.rows()] == list(scores.values())
    line = "kept.jsonl: 3 of 6 rows; dropped: score 3; scored by: judge 6"
    assert line in capsys.readouterr().out


def test_another_scoring_scores_again_without_the_teacher(tmp_path: Path) -> None:
    with LoopbackTeacher(right) as server, judge(10) as second:
        run = distillation(tmp_path, SUMS, patient(server), filter={"min_score": 5})
        run.run()
        assert run.rows()[1]["scored_by"] == "rule"
        addition = json.dumps({"judge": patient(second)})
        run.run(f"scoring={addition}")
        assert run.rows()[1]["scored_by"] == "judge"
        assert (server.num_calls, second.num_calls) == (6, 1)


def test_rows_of_an_earlier_run_are_scored_and_filtered(tmp_path: Path) -> None:
    earlier = [
        {"prompt": "2+3?", "reasoning_content": "hm", "content": r"\boxed{5}", "answer": "5"},
        {"prompt": "2+3?", "reasoning_content": "hm", "content": "5", "score": 7, "id": "x"},
        {"prompt": "2+3?", "reasoning_content": None, "content": r"\boxed{5}", "answer": "5"},
    ]
    path = write_jsonl(tmp_path / "earlier.jsonl", earlier)
    run = distillation(tmp_path, SUMS, {"endpoints": [{"url": "http://127.0.0.1:1", "model": "m"}]})
    assert run.run(f"rows_from={path}", "filter.min_score=6") == 0
    rows = run.rows()
    assert [(row["id"], row["score"]) for row in rows] == [("row/1", 10), ("x", 7), ("row/3", 10)]
    assert [row["dropped_because"] for row in rows] == [None, None, "thought: there is none"]
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rows_from: .*earlier.jsonl holds no row"):
        run.run(f"rows_from={path}", "name=b")
    path.write_text('{"prompt": "2+3?"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"earlier.jsonl:1: no column 'content'; rows_from is"):
        run.run(f"rows_from={path}", "name=b")


def test_both_styles_of_a_reply_make_the_same_records(tmp_path: Path) -> None:
    records = {}
    for style in ("split", "reasoning", "inline", "opened"):
        folder = tmp_path / style
        folder.mkdir()

        def script(ask: Ask, style: str = style) -> Says:
            return Says(right(ask).content, thought="hm", style=style)

        with LoopbackTeacher(script) as server:
            run = distillation(folder, SUMS, patient(server))
            run.run()
        records[style] = run.rows()
    assert records["split"] == records["reasoning"] == records["inline"] == records["opened"]


def test_incomplete_replies_are_dropped_with_the_reason(tmp_path: Path) -> None:
    replies = {
        "0+1?": Says("", thought="hm", finish_reason="length"),
        "1+1?": Says("5 </think> <think> 6"),
        "2+1?": Says(r"\boxed{3}"),
        "3+1?": Fails(400, "not this"),
    }
    with LoopbackTeacher(lambda ask: replies.get(ask.text) or right(ask)) as server:
        run = distillation(tmp_path, SUMS, patient(server, concurrency=1))
        run.run("filter.min_score=5")
    assert [row["dropped_because"] for row in run.rows()] == [
        "malformed: truncated: max_tokens was reached",
        "malformed: the thought ends before it begins",
        "thought: there is none",
        "refused: t0: 400 not this",
        None,
        None,
    ]
    assert run.summary["dropped"] == {"malformed": 2, "thought": 1, "refused": 1}


def test_a_label_outside_the_set_is_asked_for_again_then_dropped_and_counted(
    tmp_path: Path,
) -> None:
    def script(ask: Ask) -> Says:
        if "rain" in ask.text:
            return Says("Weather", thought="hm")
        return Says("Sport" if ask.time_of_text == 1 else "Sports.", thought="hm")

    tasks = [{"prompt": "a match", "answer": "Sports"}, {"prompt": "rain", "answer": "Sports"}]
    with LoopbackTeacher(script) as server:
        run = distillation(
            tmp_path, tasks, patient(server), labels=["Sports", "Finance"], verify_attempts=3
        )
        run.run("filter.min_score=5")
        assert server.num_calls == 5
    first, second = run.rows()
    assert (first["predicted_label"], first["attempts"], first["score"]) == ("Sports", 2, 10)
    assert first["kept"]
    assert second["dropped_because"] == "label: 'Weather' is none of the set"
    assert (second["attempts"], run.summary["dropped"]) == (3, {"label": 1})


def test_the_teacher_is_asked_until_a_reply_is_verified(tmp_path: Path) -> None:
    def script(ask: Ask) -> Says:
        return Says(f"try {ask.number}", thought="hm")

    def verifier(ask: Ask) -> Says:
        return Says(json.dumps({"correct": "try 3" in ask.text}))

    tasks = [{"prompt": "Which nerve?", "answer": "The radial nerve."}]
    with LoopbackTeacher(script) as server, LoopbackTeacher(verifier) as second:
        run = distillation(
            tmp_path,
            tasks,
            patient(server),
            scoring={"judge": patient(second), "rules": []},
            verify=True,
            verify_attempts=5,
            filter={"min_score": 5},
        )
        run.run()
        assert (server.num_calls, second.num_calls) == (3, 3)
    [row] = run.rows("kept")
    assert (row["content"], row["attempts"], row["scored_by"]) == ("try 3", 3, "judge")


def test_all_rows_are_completed_when_the_first_endpoint_dies(tmp_path: Path) -> None:
    def dying(ask: Ask) -> Any:
        return right(ask) if ask.number <= 5 else Resets()

    tasks = [{"prompt": f"{i}+1?", "answer": str(i + 1)} for i in range(40)]
    with LoopbackTeacher(dying) as first, LoopbackTeacher(right, latency_s=0.002) as second:
        run = distillation(tmp_path, tasks, {**patient(first, second), "put_aside_s": 60})
        assert run.run() == 0
    assert {row["endpoint"] for row in run.rows()} == {"t0", "t1"}
    assert len({row["id"] for row in run.rows()}) == 40


def test_rows_without_a_reply_are_asked_for_by_the_next_run(tmp_path: Path) -> None:
    is_well = False

    def script(ask: Ask) -> Any:
        return right(ask) if is_well or ask.text != "3+1?" else Fails(500, "down")

    with LoopbackTeacher(script) as server:
        run = distillation(tmp_path, SUMS, {**patient(server), "num_tries": 2})
        line = r"^1 of 6 rows have no reply \(jsonl/4#0: no reply after 2 calls; the last: t0: 500 "
        with pytest.raises(RLVRError, match=line):
            run.run()
        assert not (run.folder / "summary.json").exists()
        assert run.run("max_unanswered=1") == 0
        assert run.summary["num_rows"] == 5
        num_calls, is_well = server.num_calls, True
        assert run.run() == 0
        assert server.num_calls == num_calls + 1
    assert [row["prompt"] for row in run.rows()] == [row["prompt"] for row in SUMS]


def test_k_replies_of_a_task_are_k_rows(tmp_path: Path) -> None:
    with LoopbackTeacher(right) as server:
        run = distillation(tmp_path, SUMS[:2], patient(server), samples_per_task=3)
        run.run("sampling.send_seed=true")
    ids = [f"jsonl/{task}#{sample}" for task in (1, 2) for sample in range(3)]
    assert [row["id"] for row in run.rows()] == ids
    assert len({ask.body["seed"] for ask in server.asks}) == 6


def test_the_prompt_has_system_examples_and_columns(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("You sort news from {city}.\n", encoding="utf-8")
    prompt = {
        "system_file": str(tmp_path / "system.txt"),
        "user": r"Headline: {prompt} Give a \boxed{label}, {{as}} is.",
        "examples": [{"user": "Rain", "assistant": "<think>Hm</think>{Weather}"}],
    }
    tasks = [{"prompt": "A match", "city": "Rome"}]
    with LoopbackTeacher(lambda ask: Says("Sports", thought="hm")) as server:
        run = distillation(tmp_path, tasks, patient(server), prompt=prompt)
        run.run()
        messages = server.asks[0].body["messages"]
    assert messages == [
        {"role": "system", "content": "You sort news from Rome."},
        {"role": "user", "content": "Rain"},
        {"role": "assistant", "content": "<think>Hm</think>{Weather}"},
        {"role": "user", "content": r"Headline: A match Give a \boxed{label}, {as} is."},
    ]
    [row] = run.rows()
    assert row["prompt"] == "A match"
    assert row["prompt_sha256"] == hash_of(messages)
    (tmp_path / "system.txt").write_text("Sort.", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"prompt.system_file: .* has changed since"):
        run.run("filter.min_score=1")


def test_a_missing_column_is_reported_before_the_first_call(tmp_path: Path) -> None:
    with LoopbackTeacher(right) as server:
        run = distillation(tmp_path, SUMS, patient(server), prompt={"user": "{prompt} {town}"})
        line = r"tasks: task jsonl/1: has no 'town' for the \{town\} of prompt.user; it has "
        with pytest.raises(ConfigError, match=line):
            run.run()
        assert server.num_calls == 0
    assert not (run.folder / "config.yaml").exists()


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["tasks=null"], "tasks and teacher are needed"),
        (["verify=true"], "verify: needs filter.min_score"),
        (["filter.min_score=11"], "filter.min_score: 11 is not allowed"),
        (["teacher.endpoints=[]"], "teacher.endpoints: "),
        (["prompt.system=a", "prompt.system_file=b"], "system and system_file: give one of them"),
        (["prompt.user_file=nowhere"], "prompt.user_file: nowhere cannot be read"),
        (["export=[csv]"], "export.0: 'csv' is not allowed"),
        (["tasks={source: toy}"], "tasks.num_tasks: toy is endless"),
        (["sandbox.min_teir=x"], "unknown key sandbox.min_teir; did you mean min_tier?"),
    ],
)
def test_a_mistake_in_the_recipe_is_one_line(
    tmp_path: Path, overrides: list[str], line: str
) -> None:
    teacher = {"endpoints": [{"url": "http://127.0.0.1:1/v1", "model": "m"}]}
    run = distillation(tmp_path, SUMS, teacher)
    with pytest.raises(ConfigError) as refused:
        run.run(*overrides)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_of_another_recipe_is_refused_but_another_address_may_resume(
    tmp_path: Path,
) -> None:
    with LoopbackTeacher(lambda ask: right(ask) if ask.number <= 2 else Fails(401, "no")) as first:
        run = distillation(tmp_path, SUMS, patient(first))
        with pytest.raises(RLVRError, match=r"^no endpoint is left: t0: 401 no$"):
            run.run()
    with pytest.raises(ConfigError, match=r"made from another config: sampling.temperature was"):
        run.run("sampling.temperature=1")
    with LoopbackTeacher(right) as second:
        assert run.run(f"teacher={json.dumps(patient(second))}") == 0
    assert len(run.rows()) == 6


def test_no_file_and_no_line_holds_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEACHER_KEY", KEY)

    def script(ask: Ask) -> Any:
        assert ask.headers["Authorization"] == f"Bearer {KEY}"
        if ask.number <= 3:
            return Fails(500, f"bad key {KEY}")
        return Says(rf"\boxed{{1}} {KEY}", thought=KEY)

    with LoopbackTeacher(script) as server:
        teacher = patient(server, key_env="TEACHER_KEY")
        run = distillation(tmp_path, SUMS, teacher, scoring={"judge": teacher})
        run.run("export=[alpaca]")
        with pytest.raises(RLVRError) as refused:
            server.script = lambda ask: Fails(401, f"bad key {KEY}")
            run.run("name=b")
    printed = capfd.readouterr()
    assert "bad key [key]" in str(refused.value)
    assert KEY not in printed.out + printed.err + str(refused.value)
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert len(files) > 12
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_an_incomplete_last_row_is_asked_for_again(tmp_path: Path) -> None:
    with LoopbackTeacher(right) as server:
        run = distillation(tmp_path, SUMS, patient(server))
        run.run()
        replies = run.folder / "replies.jsonl"
        whole = replies.read_bytes()
        replies.write_bytes(whole[: len(whole) * 2 // 3])
        (run.folder / "summary.json").unlink()
        num_left = len(read_jsonl_whole(replies))
        assert run.run() == 0
        assert server.num_calls == 6 + 6 - num_left
    assert [row["prompt"] for row in run.rows()] == [row["prompt"] for row in SUMS]
    assert len(read_jsonl(replies)) == 6


def read_jsonl_whole(path: Path) -> list[Mapping[str, Any]]:
    """Return the rows of complete lines."""
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def test_a_hanging_teacher_costs_only_its_deadline(tmp_path: Path) -> None:
    def script(ask: Ask) -> Any:
        return Hangs() if ask.number == 2 else right(ask)

    with LoopbackTeacher(script) as server:
        run = distillation(tmp_path, SUMS, {**patient(server), "timeout_s": 0.3})
        assert run.run() == 0
        assert server.num_calls == 7
