"""Best of n, beam search, thinking budget and scorers, with scripted engines."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeEncoder, FakeEngines, FakeGraders

from rlvr.errors import ConfigError
from rlvr.evaluation.beam_search import BeamSearch
from rlvr.evaluation.budget import ThinkingBudget
from rlvr.evaluation.completion_rows import CompletionPool, generate_pool
from rlvr.evaluation.eval_config import StrategySection
from rlvr.evaluation.scorers import ScorerInput, make_scorer
from rlvr.evaluation.selection import (
    aggregate_scores,
    argmax,
    best_of_n_metrics,
    clusters_of,
    score_rows,
    step_prefixes,
    weighted_vote,
)
from rlvr.evaluation.suites import Suite, with_cue
from rlvr.grpo.rollouts import RolloutCollector
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec
from rlvr.run.row_log import RowLog
from rlvr.types import Completion, FinishReason, Task

SAMPLING = SamplingSpec(temperature=1.0, max_tokens=16, stop=(), stop_token_ids=(2,))
TASK = Task(id="n/0", prompt="2+3?", columns={"answer": "5"})


class LetterEngines:
    """Each token is a letter; `writes` returns the continuation of a text."""

    def __init__(self, writes: Callable[[str, int], str]) -> None:
        self._writes = writes
        self.num_tokens = 0
        self.prompts: list[str] = []

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        for request in requests:
            await asyncio.sleep(0)
            prompt = letters(request.prompt_token_ids)
            self.prompts.append(prompt)
            text = self._writes(prompt, request.sample_index)
            for stop in sampling.stop:
                text = text[: text.find(stop) + len(stop)] if stop in text else text
            is_cut = len(text) > sampling.max_tokens
            text = text[: sampling.max_tokens]
            self.num_tokens += len(text)
            completion = Completion.sampled(
                ids(text),
                np.full(len(text), -0.5, np.float32),
                text=text,
                finish_reason=FinishReason.LENGTH if is_cut else FinishReason.STOP,
                policy_version=0,
            )
            yield [
                Finished(
                    task_index=request.task_index,
                    sample_index=request.sample_index,
                    completion=completion,
                )
            ]


def ids(text: str) -> Any:
    return np.array([ord(letter) for letter in text], np.int32)


def letters(token_ids: Any) -> str:
    return "".join(chr(token) for token in token_ids)


def request_of(prompt: str, sample: int = 0) -> Request:
    return Request(task_index=0, sample_index=sample, prompt_token_ids=ids(prompt), seed=1)


# best of n


@pytest.mark.parametrize(
    ("how", "score"), [("last", 0.5), ("min", 0.2), ("prod", pytest.approx(0.09))]
)
def test_step_scores_become_one(how: Any, score: float) -> None:
    assert aggregate_scores([0.9, 0.2, 0.5], how) == score
    assert aggregate_scores([0.9, None], how) == aggregate_scores([], how) == -np.inf


def test_argmax_is_the_first_of_equal_scores() -> None:
    assert argmax([0.1, 0.9, 0.3]) == 1
    assert argmax([0.5, 0.5]) == 0
    assert argmax([-np.inf, -np.inf]) == 0


def test_a_weighted_vote_takes_the_best_of_the_heaviest_answer() -> None:
    clusters = clusters_of(["7", "8", "7", None])
    assert weighted_vote(clusters, [0.3, 0.5, 0.4, 0.9]) == 2  # 7 has 0.7
    assert weighted_vote(clusters, [0.1, 0.5, 0.2, 0.9]) == 1
    assert weighted_vote([], [0.9]) is None


@pytest.mark.parametrize(
    ("text", "steps"),
    [("a|b|c", ["a|", "a|b|", "a|b|c"]), ("a|b|", ["a|", "a|b|"]), ("a", ["a"]), ("", [""])],
)
def test_a_text_is_cut_after_each_step(text: str, steps: list[str]) -> None:
    assert step_prefixes(text, step_end="|") == steps


def section(**keys: Any) -> StrategySection:
    return StrategySection.model_validate({"name": "best_of_n", **keys})


def suite_of(*tasks: Task, **keys: Any) -> Suite:
    plain: dict[str, Any] = {
        "name": "math",
        "correct_by": "accuracy",
        "num_samples": 2,
        "max_tokens": 16,
        "noisy_of": None,
    }
    return Suite(tasks=tasks, **(plain | keys))


def row(sample: int, text: str, *, right: bool) -> dict[str, Any]:
    return {
        "strategy": "plain",
        "suite": "math",
        "id": "n/0",
        "sample_index": sample,
        "completion": text,
        "think_prefilled": False,
        "is_right": right,
    }


def test_no_completion_is_scored_twice(tmp_path: Path) -> None:
    rows = [row(0, "short", right=False), row(1, "much longer", right=True)]
    strategy = section(scorer="rule", rule="think_format")
    asked: list[str] = []

    def by_length(items: Sequence[ScorerInput]) -> list[float | None]:
        asked.extend(item.prompt + item.text for item in items)
        return [float(len(item.text)) for item in items]

    for _ in range(2):
        log = RowLog(tmp_path / "scores.jsonl")
        score_rows(strategy, suite_of(TASK), rows, log, scorer=by_length, prompts={"n/0": "2+3? "})
    assert asked == ["2+3? short", "2+3? much longer"]
    found = best_of_n_metrics(strategy, rows, log.rows, correct_by="accuracy")
    assert (found["accuracy"], found["stderr"]) == (1.0, 0.0)


def test_a_rule_scores_texts_with_the_columns_of_their_tasks() -> None:
    right = "<think>2+3</think><answer>5</answer>"
    items = [ScorerInput(task=TASK, prompt="2+3?", text=text) for text in (right, right[:-10])]
    scorer = make_scorer(section(scorer="rule", rule="think_format"), think_prefilled=False)
    assert scorer(items) == [1.0, 0.0]
    scorer = make_scorer(section(scorer="rule", rule="accuracy"), think_prefilled=False)
    assert scorer(items[:1]) == [1.0]


class Judge(BaseHTTPRequestHandler):
    """Gives one point per letter x in the question."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        points = body["messages"][0]["content"].count("x")
        reply = {"choices": [{"message": {"content": json.dumps({"score": points})}}]}
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def judge_on_loopback() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_judge_scores_whole_completions() -> None:
    with judge_on_loopback() as url:
        judge = {"url": url, "model": "any", "rubric": "crosses"}
        scorer = make_scorer(section(scorer="judge", judge=judge), think_prefilled=False)
        items = [
            ScorerInput(task=TASK, prompt="", text=f"<think>x</think>{t}") for t in ("x", "xxx")
        ]
        first, second = scorer(items)
    assert first is not None and second is not None
    assert second - first == pytest.approx(0.2)


def test_a_judge_of_steps_gives_their_correctness(tmp_path: Path) -> None:
    rows = [row(0, "xxxxxx\n\na", right=True), row(1, "b", right=False)]
    with judge_on_loopback() as url:
        judge = {"url": url, "model": "any", "rubric": "crosses"}
        strategy = section(scorer="judge", judge=judge, by_step=True, aggregate="min")
        scorer = make_scorer(strategy, think_prefilled=False)
        log = RowLog(tmp_path / "scores.jsonl")
        score_rows(strategy, suite_of(TASK), rows, log, scorer=scorer, prompts={"n/0": ""})
    base = log.rows[1]["step_scores"][0]  # the x of the question itself
    assert [len(score["step_scores"]) for score in log.rows] == [2, 1]
    assert log.rows[0]["step_scores"] == [pytest.approx(base + 0.6)] * 2
    found = best_of_n_metrics(strategy, rows, log.rows, correct_by="accuracy")
    assert (found["accuracy"], found["step_correctness"]) == (1.0, pytest.approx(2 / 3))


# the cue


def test_the_cue_is_in_the_language_of_the_problem() -> None:
    assert with_cue(TASK, None).prompt == "2+3?\nLet's think step by step."
    chinese = Task(id="n/1", prompt="求2+3的值。")
    assert with_cue(chinese, None).prompt == "求2+3的值。\n让我们一步一步地思考。"
    assert with_cue(TASK, "Hm.").prompt == "2+3?\nHm."
    assert with_cue(TASK, "").prompt == "2+3?"
    turns = [{"role": "user", "content": "求2+3的值。"}, {"role": "user", "content": "And 4+5?"}]
    last = with_cue(Task(id="n/2", prompt=turns), None).prompt[-1]
    assert last == {"role": "user", "content": "And 4+5?\nLet's think step by step."}


# rows


def pool_of(**keys: Any) -> CompletionPool:
    return CompletionPool(**({"name": "plain", "cue": "", "sampling": SAMPLING, "seed": 0} | keys))


def write(suite: Suite, log: RowLog, engines: FakeEngines) -> None:
    collector = RolloutCollector(
        engines=engines, graders=FakeGraders(), encoder=FakeEncoder(), seed=0
    )
    asyncio.run(generate_pool(suite, pool_of(), log, collector))


def test_resuming_generates_the_missing_completions_with_the_same_seeds(tmp_path: Path) -> None:
    suite = suite_of(TASK, Task(id="n/1", prompt="1+1?", columns={"answer": "6"}))
    whole, cut = RowLog(tmp_path / "whole.jsonl"), tmp_path / "cut.jsonl"
    engines = FakeEngines(version=0)
    write(suite, whole, engines)
    first, second, *_ = whole.path.read_bytes().splitlines(keepends=True)
    cut.write_bytes(first + second[:40])  # killed in the middle of a row
    write(suite, RowLog(cut), engines)
    assert [len(requests) for requests in engines.requests] == [4, 3]

    def sorted_rows(log: RowLog) -> list[dict[str, Any]]:
        key = ("id", "sample_index")
        plain = [{**row, "seconds": 0.0} for row in log.rows]
        return sorted(plain, key=lambda row: [row[name] for name in key])

    assert sorted_rows(RowLog(cut)) == sorted_rows(whole)
    assert [row["is_right"] for row in sorted_rows(whole)] == [True, False, False, True]


# thinking budget


def budgeted(engines: LetterEngines, requests: Sequence[Request]) -> dict[int, Completion]:
    budget = ThinkingBudget(
        engines=engines,
        budget=10,
        cue_ids=ids("</think>"),
        decode=letters,
        think_prefilled=False,
    )
    found: dict[int, Completion] = {}

    async def run() -> None:
        sampling = SamplingSpec(temperature=1.0, max_tokens=40, stop=(), stop_token_ids=())
        async for chunk in budget.generate(requests, sampling, policy_version=0):
            found.update({item.sample_index: item.completion for item in chunk})

    asyncio.run(run())
    assert budget.closed <= {(0, sample) for sample in found}
    found_closed = {sample for _, sample in budget.closed}
    assert found_closed == {s for s, c in found.items() if "</think>" in c.text}
    return found


def test_reasoning_over_its_budget_is_closed_and_answered() -> None:
    def writes(prompt: str, sample: int) -> str:
        if prompt.endswith("</think>"):
            return "5."
        return "<think>one two three four" if sample == 0 else "It is 5."

    engines = LetterEngines(writes)
    found = budgeted(engines, [request_of("Q: ", sample) for sample in (0, 1)])
    assert found[0].text == "<think>one</think>5."
    assert found[0].finish_reason is FinishReason.STOP
    assert letters(found[0].token_ids) == found[0].text
    assert len(found[0].rollout_logprobs) == len(found[0].token_ids)
    assert found[1].text == "It is 5."
    assert engines.prompts[-1] == "Q: <think>one</think>"


def test_an_answer_over_the_budget_continues() -> None:
    def writes(prompt: str, sample: int) -> str:
        return "A long answer to a question"[len(prompt) - len("Q: ") :]

    found = budgeted(LetterEngines(writes), [request_of("Q: ")])
    assert found[0].text == "A long answer to a question"


def test_a_budget_that_leaves_nothing_for_the_answer_is_refused() -> None:
    budget = ThinkingBudget(
        engines=LetterEngines(lambda prompt, sample: ""),
        budget=10,
        cue_ids=ids("</think>"),
        decode=letters,
        think_prefilled=False,
    )

    async def run() -> None:
        async for _ in budget.generate([request_of("Q")], SAMPLING, policy_version=0):
            pass

    with pytest.raises(ConfigError, match="thinking_budget: 10 and the 8 tokens of budget_cue"):
        asyncio.run(run())


# beam search: at each step one may write a or b; b alone leads to c


def planted(prompt: str, sample: int) -> str:
    """After "b|" follows "c|" and then the end; after "a|" a or b."""
    if prompt.endswith("c|"):
        return "."
    if prompt.endswith("b|"):
        return "c|"
    return ("a|", "b|")[sample % 2]


SCORES = {"a": 0.6, "b": 0.5, "c": 1.0, ".": 1.0}  # greedy takes a, again and again


def searched(*, beams: int, width: int, max_iterations: int = 4, aggregate: Any = "last") -> Any:
    engines = LetterEngines(planted)

    async def score(items: Sequence[tuple[int, str]]) -> list[float | None]:
        return [SCORES[text.rstrip("|")[-1]] for _, text in items]

    search = BeamSearch(
        strategy=section(
            name="beam",
            scorer="rule",
            rule="think_format",
            step_end="|",
            beams=beams,
            width=width,
            max_iterations=max_iterations,
            aggregate=aggregate,
        ),
        engines=engines,
        score=score,
        decode=letters,
        sampling=SAMPLING,
    )
    [(beam, num_tokens)] = asyncio.run(search.search([ids("Q: ")], seed_parts=[("n", 0)]))
    assert num_tokens == engines.num_tokens
    return beam


def test_a_search_finds_the_path_that_greedy_misses() -> None:
    greedy = searched(beams=1, width=2)
    assert greedy.text == "a|a|a|a|"
    assert greedy.finish_reason is None
    found = searched(beams=2, width=2)
    assert found.text == "b|c|."
    assert found.step_scores == (0.5, 1.0, 1.0)
    assert found.finish_reason is FinishReason.STOP


def test_a_finished_beam_competes_with_unfinished_ones() -> None:
    found = searched(beams=2, width=2, aggregate="min")  # a|a|... keeps 0.6, b|c|. has 0.5
    assert found.text == "a|a|a|a|"


def test_a_search_ends_at_the_token_limit() -> None:
    found = searched(beams=1, width=2, max_iterations=40)
    assert found.text == "a|" * 8
    assert len(found.token_ids) == SAMPLING.max_tokens
