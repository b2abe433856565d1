"""Scores by rule or by a judge, and the parsing of a judge's reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from distill_runs import patient
from loopback_teacher import Ask, Fails, LoopbackTeacher, Says

from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.stages.distill.row_scores import (
    Judge,
    RowScore,
    RowScorer,
    read_correctness,
    read_label,
    read_scores,
    scoring_hash,
)
from rlvr.teacher import NoReply, Teacher

QUALITY = {"harmlessness": 10, "usefulness": 8, "correctness": 6, "score": 7}
# gold, answer, score: fractions, percents, intervals, units, garbage
PAIRS = [
    ("42", r"\boxed{42}", 10),
    ("42", r"\boxed{41}", 0),
    ("42", r"first \boxed{41}, then \boxed{42}", 10),
    ("42", "<answer>42</answer>", 10),
    ("1/2", r"\boxed{0.5}", 10),
    (r"\frac{1}{2}", r"\boxed{\frac{2}{4}}", 10),
    ("1/2", r"\boxed{1/3}", 0),
    (r"10\%", r"\boxed{10\%}", 10),
    ("1080", r"\boxed{1,080}", 10),
    ("18", r"\boxed{\$18}", 10),
    ("5", r"\boxed{x=5}", 10),
    ("(1,2)", r"\boxed{(1,2)}", 10),
    ("(1,2)", r"\boxed{(2,1)}", 0),
    ("[1,2)", r"\boxed{(1,2]}", 0),
    ("x^2+2x+1", r"\boxed{(x+1)^2}", 10),
    (r"\sqrt{8}", r"\boxed{2\sqrt{2}}", 10),
    ("{1,2}", r"\boxed{\{2,1\}}", 10),
    ("7", r"\boxed{}", 0),
    ("7", r"\boxed{banana}", 0),
    ("7", r"\boxed{$$}", 0),
]


def config(judge: Mapping[str, Any] | None = None, **scoring: Any) -> DistillConfig:
    return DistillConfig.model_validate(
        {"name": "a", "rows_from": "rows.jsonl", "scoring": {"judge": judge, **scoring}}
    )


def row(content: str, **columns: Any) -> dict[str, Any]:
    return {"id": "a#0", "prompt": "2+3?", "reasoning_content": "hm", "content": content, **columns}


def score(
    one: Mapping[str, Any], server: LoopbackTeacher | None = None, **scoring: Any
) -> RowScore:
    async def run() -> RowScore:
        if server is None:
            return await RowScorer(config(**scoring), None).score(one)
        whole = config(patient(server) | {"num_tries": 3}, **scoring)
        assert whole.scoring.judge is not None
        async with Teacher(whole.scoring.judge) as teacher:
            judge = Judge(teacher, whole.scoring, lambda id, reply: None)
            return await RowScorer(whole, judge).score(one)

    return asyncio.run(run())


@pytest.mark.parametrize(("gold", "answer", "expected"), PAIRS)
def test_a_readable_answer_is_scored_by_rule_without_the_judge(
    gold: str, answer: str, expected: float
) -> None:
    with LoopbackTeacher(lambda ask: Fails(500)) as server:
        scored = score(row(answer, answer=gold), server)
        assert server.num_calls == 0
    assert (scored.score, scored.scored_by) == (expected, "rule")
    assert scored.scores == {"accuracy": expected / 10}


def test_a_judge_scores_answers_that_no_rule_can_read() -> None:
    def script(ask: Ask) -> Says:
        is_right = "It is five." in ask.text and "<reference>\n5\n</reference>" in ask.text
        return Says(json.dumps({"reason": "...", "correct": is_right}), thought="hm")

    with LoopbackTeacher(script) as server:
        right = score(row("It is five.", answer="5"), server)
        wrong = score(row("It is six.", answer="5"), server)
        ungradable = score(row(r"\boxed{It is five.}", answer=" "), server)
        no_rule = score(row(r"\boxed{5} It is five.", answer="5"), server, rules=[])
    found = [(one.score, one.scored_by) for one in (right, wrong, ungradable, no_rule)]
    assert found == [(10, "judge"), (0, "judge"), (0, "judge"), (10, "judge")]


def test_without_a_judge_unreadable_answers_are_wrong_and_no_gold_is_no_score() -> None:
    unread = score(row("It is five.", answer="5"))
    assert (unread.score, unread.scored_by) == (0, "rule")
    no_gold = score(row("It is five."))
    assert (no_gold.score, no_gold.scored_by) == (None, None)
    assert no_gold.score_reason == "no rule applies to this row, and there is no judge"


def test_an_incomplete_row_is_not_scored() -> None:
    with LoopbackTeacher(lambda ask: Says("{}")) as server:
        scored = score(row("5", answer="5", problem="malformed: truncated"), server)
        assert (scored.score, server.num_calls) == (None, 0)


def test_a_program_is_scored_by_its_tests() -> None:
    tests = {"cases": [{"input": "21", "output": "42"}]}
    right = score(row("```python\nprint(int(input()) * 2)\n```", tests=tests))
    wrong = score(row("```python\nprint(1)\n```", tests=json.dumps(tests)))
    assert [(one.score, one.scored_by) for one in (right, wrong)] == [(10, "rule"), (0, "rule")]
    assert right.scores == {"passes_tests": 1.0}


@pytest.mark.parametrize(
    ("replies", "expected", "num_retries"),
    [
        ([json.dumps(QUALITY)], 7, 0),
        ([f"Let me see.\n```json\n{json.dumps(QUALITY, indent=1)}\n```\nDone."], 7, 0),
        (["I like it.", json.dumps(QUALITY)], 7, 1),
        (["junk", '{"score": 11}', '{"score": 7}'], None, 2),  # axes are missing
    ],
)
def test_quality_has_three_axes_and_unreadable_replies_are_asked_again(
    replies: list[str], expected: float | None, num_retries: int
) -> None:
    with LoopbackTeacher(lambda ask: Says(replies[ask.number - 1])) as server:
        scored = score(row("Five."), server)
        assert server.num_calls == len(replies)
    assert (scored.score, scored.judge_retries) == (expected, num_retries)
    axes = {"harmlessness": 10.0, "usefulness": 8.0, "correctness": 6.0}
    assert scored.scores == ({} if expected is None else axes)
    assert scored.scored_by == (None if expected is None else "judge")
    if num_retries:
        assert "alone" in server.asks[1].text.splitlines()[-1]


def test_a_refusing_judge_gives_no_score_and_an_unreachable_one_raises() -> None:
    def script(ask: Ask) -> Any:
        return Says(json.dumps(QUALITY)) if ask.number == 1 else Fails(400, "not this")

    async def run(server: LoopbackTeacher) -> list[RowScore]:
        whole = config(patient(server))
        assert whole.scoring.judge is not None
        async with Teacher(whole.scoring.judge) as teacher:
            judge = Judge(teacher, whole.scoring, lambda id, reply: None)
            return [await RowScorer(whole, judge).score(row("Five.")) for _ in range(2)]

    with LoopbackTeacher(script) as server:
        first, second = asyncio.run(run(server))
    assert (first.score, second.score) == (7, None)
    assert second.score_reason == "the judge refuses: t0: 400 not this"
    with LoopbackTeacher(lambda ask: Fails(500)) as server, pytest.raises(NoReply):
        score(row("Five."), server)


def test_custom_judge_prompts_are_filled_from_the_row() -> None:
    with LoopbackTeacher(lambda ask: Says('{"correct": true}')) as server:
        own = "{prompt} {topic}: {content} or {answer}? {{x}}"
        score(row("V", answer="5", topic="sums"), server, correctness_prompt=own)
        assert server.asks[0].text == "2+3? sums: V or 5? {x}"


def test_the_scoring_hash_ignores_the_address() -> None:
    def hash_with(**endpoint: Any) -> str:
        one = {"url": "http://h/v1", "model": "m", **endpoint}
        return scoring_hash(config({"endpoints": [one]}))

    assert hash_with() == hash_with(url="http://other/v1", concurrency=3)
    assert len({hash_with(), hash_with(model="n"), scoring_hash(config())}) == 3


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ('{"score": 7}', 7),
        ('```json\n{"score": 7}\n```', 7),
        ('Scale: {"score": 0-10}. Mine: {"score": 7, "note": "a } b"} so.', 7),
        ('{"score": 3} no, rather {"score": "7/10"}', 7),
        ('{"analysis": {"score": 7.0}}', 7),
        ('{"score": 7,}', 7),
        ("{'score': 7}", 7),
        ("score: 7 / 10", 7),
        ('{"score": 11}', None),
        ('{"score": -1}', None),
        ('{"score": true}', None),
        ('{"score": null}', None),
        ("seven", None),
        ("", None),
        ("{" * 5000, None),
    ],
)
def test_scores_are_read_from_any_form_of_reply(reply: str, scores: float | None) -> None:
    found = read_scores(reply, ("score",))
    assert found == (None if scores is None else {"score": scores})


@pytest.mark.parametrize(
    ("reply", "is_correct"),
    [
        ('{"correct": true}', True),
        ('{"reason": "no {gold}", "correct": false}', False),
        ('{"analysis": "...", "correctness": "incorrect"}', False),
        ("```json\n{'correct': True,}\n```", True),
        ("correctness: correct", True),
        ("yes", None),
        ('{"correct": "perhaps"}', None),
    ],
)
def test_correctness_is_read_from_any_form_of_reply(reply: str, is_correct: bool | None) -> None:
    assert read_correctness(reply) is is_correct


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ("体育", "体育"),
        ("**体育**。", "体育"),
        ("<answer> 体育 </answer>", "体育"),
        (r"So it is \boxed{Sports}.", "Sports"),
        ("It is about a match.\nsports", "Sports"),
        ("I think\nLabel: Sports.", "Sports"),
        ("标签：体育", "体育"),  # noqa: RUF001 - the full-width colon is meant
        ("体育新闻", None),
        ("<answer>Weather</answer>", None),
        ("", None),
    ],
)
def test_a_label_is_read_where_it_is_stated(content: str, label: str | None) -> None:
    assert read_label(content, ["体育", "Sports", "财经"]) == label
