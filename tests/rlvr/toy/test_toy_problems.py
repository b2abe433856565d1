"""The toy world's problems: right golds, two languages, fixed seeds, splits that never meet."""

from __future__ import annotations

import re
from itertools import permutations

import pytest

from rlvr.toy.problems import Chain, heldout_tasks, problem
from rlvr.types import Task

NUMBER_OR_SIGNED_WORD = re.compile(
    r"(?P<loss>loses |sells |drops |丢了|卖掉|送出)?(?P<number>\d+)(?P<boxes> boxes of |盒,每盒)?"
)
BARE = re.compile(r"\d+(?:[*+-]\d+)+")


def evaluated(prompt: str) -> int:
    """The answer, read from the prompt's own words and not from the code that wrote it."""
    bare = BARE.search(prompt)
    if bare:
        tokens = re.findall(r"[*+-]|\d+", bare[0])
        value = int(tokens[0])
        for sign, digits in zip(tokens[1::2], tokens[2::2], strict=True):
            value = {"*": value * int(digits), "+": value + int(digits), "-": value - int(digits)}[
                sign
            ]
        return value
    value, boxes = 0, 1
    for match in NUMBER_OR_SIGNED_WORD.finditer(prompt):
        number = int(match["number"]) * boxes
        boxes = 1
        if match["boxes"]:
            boxes = number
        else:
            value += -number if match["loss"] else number
    return value


def train_problems(num: int) -> list[Task]:
    return [problem(index, seed=3) for index in range(num)]


def test_the_gold_of_a_story_with_boxes_is_worked_out_by_hand() -> None:
    assert evaluated("Tom has 3 boxes of 4 pens, loses 5, finds 2. How many now?") == 9
    assert evaluated("小明有7支笔,得到8,丢了6。现在有多少?") == 9
    assert Chain(head=(3, 4), terms=(-5, 2)).values == (12, 7, 9)


def test_every_gold_is_what_the_prompt_says() -> None:
    for task in [*train_problems(1500), *heldout_tasks(500, seed=1)]:
        assert evaluated(str(task.prompt)) == int(task.columns["answer"]), task


def test_both_languages_and_both_forms_are_common() -> None:
    tasks = train_problems(400)
    chinese = [task for task in tasks if task.columns["language"] == "zh"]
    assert 120 < len(chinese) < 280
    assert all(re.search(r"[\u4e00-\u9fff]", str(task.prompt)) for task in chinese)
    assert not any(
        re.search(r"[\u4e00-\u9fff]", str(task.prompt)) for task in tasks if task not in chinese
    )
    assert 120 < sum(BARE.search(str(task.prompt)) is not None for task in tasks) < 280


def test_a_problem_depends_on_its_seed_split_and_index_alone() -> None:
    assert problem(7, split="train", seed=3) == train_problems(8)[7]
    assert problem(7, seed=3) != problem(7, seed=4)
    assert heldout_tasks(64, seed=2) == heldout_tasks(64, seed=2)
    assert heldout_tasks(64, seed=2) != heldout_tasks(64, seed=5)
    assert problem(0, split="heldout").id != problem(0, split="train").id


def test_order_of_terms_and_factors_does_not_change_the_split() -> None:
    assert (
        Chain(head=(3, 4), terms=(-5, 2)).canonical == Chain(head=(4, 3), terms=(2, -5)).canonical
    )
    sums = {
        Chain(head=(head,), terms=terms).canonical
        for head, *terms in permutations((3, 4, 5))
        for terms in [tuple(terms)]
    }
    assert len(sums) == 1


def test_heldout_problems_are_distinct_and_never_asked_in_training() -> None:
    heldout = heldout_tasks(500)
    assert len({task.id for task in heldout}) == len({task.prompt for task in heldout}) == 500
    asked = {problem(index).prompt for index in range(8000)}
    assert asked.isdisjoint(task.prompt for task in heldout)


def test_training_tasks_are_trainable_and_heldout_tasks_are_not() -> None:
    for text, is_heldout in (
        *((str(task.prompt), False) for task in train_problems(1000)),
        *((str(task.prompt), True) for task in heldout_tasks(300)),
    ):
        bare = BARE.search(text)
        if bare:
            head, terms = re.findall(r"[+-]?\d+(?:\*\d+)?", bare[0])[0], bare[0]
            chain = Chain(
                head=tuple(map(int, head.split("*"))),
                terms=tuple(map(int, re.findall(r"[+-]\d+", terms))),
            )
            assert chain.is_heldout is is_heldout
            assert chain.is_trainable() or is_heldout


def test_a_chain_with_a_heldout_rest_is_not_trainable() -> None:
    numbers = range(1, 10)
    rest = next(
        Chain(head=(12,), terms=(a, b))
        for a in numbers
        for b in numbers
        if Chain(head=(12,), terms=(a, b)).is_heldout
    )
    assert not Chain(head=(3, 4), terms=rest.terms).is_trainable()
    assert not Chain(head=(5,), terms=(7, *rest.terms)).is_trainable()
    assert not Chain(head=(5,), terms=(6, *rest.terms)).is_trainable((5, 12, 1, 1))


def test_more_heldout_problems_than_the_world_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 500"):
        heldout_tasks(501)
