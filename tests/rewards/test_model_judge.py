"""Judges at an endpoint: an HTTP server on loopback plays the model."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rewards import Outcome, RewardMix, judge_preference, judge_rubric
from rewards.verifiers.model_judge import JudgeEndpoint, grade_by_judge

pytestmark = pytest.mark.slow  # servers are started


class Model(ThreadingHTTPServer):
    """`reply` turns a question into the answer's text, or a status that stands for a fault."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply: Callable[[str], str | int] = lambda question: '{"score": 7}'
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers["Authorization"])
        reply = self.server.reply(body["messages"][0]["content"])
        answer = json.dumps({"choices": [{"message": {"content": reply}}]}).encode()
        self.send_response(reply if isinstance(reply, int) else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as model:
        thread = threading.Thread(target=model.serve_forever)
        thread.start()
        yield model
        model.shutdown()
        thread.join()


def rubric(model: Model, *completions: object, **options: Any) -> list[float | None]:
    prompts = ["What is 2+3?"] * len(completions)
    return judge_rubric(completions, prompts=prompts, url=model.url, model="judge", **options)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"reason": "good", "score": 10}', 1.0),
        ('Let me think: score: 3? No.\n```json\n{"score": 8}\n```', 0.8),
        ("Score = 6.5", 0.65),
        ('{"score": "0"}', 0.0),
        ('{"score": 11}', None),
        ('{"score": -3}', None),
        ("no idea", None),
        ("", None),
    ],
)
def test_a_score_is_read_from_what_judges_say(
    model: Model, reply: str, value: float | None
) -> None:
    model.reply = lambda question: reply
    assert rubric(model, "5") == [value]


def test_the_answer_alone_or_everything_is_judged(model: Model) -> None:
    text = "<think>secret thought</think>The answer is 5."
    rubric(model, text)
    rubric(model, text, part="whole")
    questions = [body["messages"][0]["content"] for body in model.asked]
    assert ["secret thought" in question for question in questions] == [False, True]
    assert all("What is 2+3?" in question for question in questions)


@pytest.mark.parametrize(
    ("completion", "think_prefilled", "part", "shown"),
    [
        ("<think>let me see</think>\n5 it is.", False, "answer", "5 it is."),
        (
            "<think>let me see</think>\n5 it is.",
            False,
            "whole",
            "<think>let me see</think>\n5 it is.",
        ),
        ("let me see</think>\n5 it is.", True, "answer", "5 it is."),
        ("let me see</think>\n5 it is.", True, "whole", "<think>let me see</think>\n5 it is."),
        ("<think>let me see", False, "whole", "<think>let me see"),
        ("5 it is.", False, "answer", "5 it is."),
        ([{"role": "assistant", "content": "5", "reasoning_content": "hm"}], False, "answer", "5"),
        (
            [{"role": "assistant", "content": "5", "reasoning_content": "hm"}],
            False,
            "whole",
            "<think>hm</think>5",
        ),
    ],
)
def test_what_a_judge_is_shown_to_the_letter(
    model: Model, completion: object, think_prefilled: bool, part: str, shown: str
) -> None:
    model.reply = lambda question: '{"score": 7, "better": "tie"}'
    options: dict[str, Any] = {"prompts": ["2+3?"], "url": model.url, "model": "judge"}
    options |= {"think_prefilled": think_prefilled, "part": part}
    judge_rubric([completion], **options)
    judge_preference([completion], ["<think>five?</think>Five."], **options)
    scored, first, second = (body["messages"][0]["content"] for body in model.asked)
    rival = "Five." if part == "answer" else "<think>five?</think>Five."
    asked = "<question>\n2+3?\n</question>\n"
    assert f"{asked}<answer>\n{shown}\n</answer>\n" in scored
    pairs = [(first, shown, rival), (second, rival, shown)]
    for question, a, b in pairs:
        both = f'<answer name="A">\n{a}\n</answer>\n<answer name="B">\n{b}\n</answer>\n'
        assert asked + both in question


def test_a_reference_without_an_answer_is_the_rows_fault(model: Model) -> None:
    options: dict[str, Any] = {"prompts": ["?"], "url": model.url, "model": "judge"}
    assert judge_preference(["5"], ["<think>on and on"], **options) == [None]
    assert model.asked == []


def test_nothing_to_judge_costs_no_call(model: Model) -> None:
    assert rubric(model, "<think>on and on", "<think>a</think>  ") == [0.0, 0.0]
    assert model.asked == []


def test_a_fault_that_passes_is_tried_again_and_one_that_stays_is_none(model: Model) -> None:
    faults = iter([429, 500, 503])
    model.reply = lambda question: next(faults, '{"score": 5}')
    assert rubric(model, "5") == [0.5]
    model.reply = lambda question: 400
    assert rubric(model, "5") == [None]
    endpoint = JudgeEndpoint(url="http://127.0.0.1:9/v1", model="m", num_tries=1)
    [grade] = grade_by_judge(["5"], ["?"], [False], endpoint)
    assert (grade.value, grade.outcome) == (None, Outcome.ERROR)
    assert "no connection" in grade.reason


def test_many_are_asked_at_a_time_and_stay_in_order(model: Model) -> None:
    gate = threading.Barrier(8, timeout=20)

    def reply(question: str) -> str:
        gate.wait()  # passes only when eight questions are here at once
        number = question.partition("<answer>\n")[2].partition("\n")[0]
        return f'{{"score": {number}}}'

    model.reply = reply
    values = rubric(model, *[str(n) for n in range(8)], concurrency=8)
    assert values == [n / 10 for n in range(8)]


@pytest.mark.parametrize(
    ("taste", "value"),
    [
        (lambda question: '{"better": "A"}', 0.5),  # a judge that likes the first place
        (lambda question: '{"better": "tie"}', 0.5),
        (lambda question: _better(question, "mine"), 1.0),
        (lambda question: _better(question, "theirs"), 0.0),
        (lambda question: "hm", None),
    ],
)
def test_a_preference_is_asked_for_in_both_orders(
    model: Model, taste: Callable[[str], str], value: float | None
) -> None:
    model.reply = taste
    options: dict[str, Any] = {"prompts": ["?"], "url": model.url, "model": "judge"}
    assert judge_preference(["mine"], ["theirs"], **options) == [value]


def _better(question: str, text: str) -> str:
    first = question.partition('name="A">\n')[2].partition("\n")[0]
    return f'{{"better": "{"A" if first == text else "B"}"}}'


def test_the_key_comes_from_the_environment(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    assert rubric(model, "5", key_env="JUDGE_KEY") == [0.7]
    assert model.keys == ["Bearer s3cret"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "judge.example"}, "url: 'judge.example' is not an address"),
        ({"key_env": "NO_SUCH_KEY"}, "key_env: the environment does not hold NO_SUCH_KEY"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"part": "thought"}, "part is 'thought'; allowed: answer, whole"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    given = {"url": "http://127.0.0.1:9/v1", "model": "m", **options}
    with pytest.raises(ValueError, match=message):
        judge_rubric(["5"], prompts=["?"], **given)


def test_a_judge_takes_part_in_a_mix_and_its_silence_is_none(model: Model) -> None:
    options = {"url": model.url, "model": "judge"}
    mix = RewardMix({"judge_rubric": {"options": options}, "think_format": 0.5})
    text = "<think>a</think><answer>5</answer>"
    [good] = mix.grade([text], {}, prompts=["2+3?"])
    assert good.value == pytest.approx(0.7 + 0.5)
    model.reply = lambda question: 400
    [silent] = mix.grade([text], {}, prompts=["2+3?"])
    assert silent.value is None
    assert "400" in silent.reasons["judge_rubric"]
    with pytest.raises(ValueError, match=r"judge_rubric.*url is missing"):
        RewardMix({"judge_rubric": 1.0})


def test_a_lone_surrogate_does_not_end_the_grading_of_the_others(model: Model) -> None:
    assert rubric(model, "fine", "bad \ud800", "fine") == [0.7] * 3


@pytest.fixture
def _ctrl_c_raises() -> Iterator[None]:
    """As in a program; the workers of pytest-xdist ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_raises")
def test_ctrl_c_cancels_the_questions_that_are_not_asked_yet(model: Model) -> None:
    def interrupt_at_the_third(question: str) -> str:
        if len(model.asked) == 3:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return '{"score": 7}'

    model.reply = interrupt_at_the_third
    with pytest.raises(KeyboardInterrupt):
        rubric(model, *["an answer"] * 400, concurrency=1)
    assert len(model.asked) < 400
