"""Plain text of the toy world for pretraining, and worked examples for a cold start.

Most documents contain no tags: drills of facts and chains, code, and exchanges answered in prose,
in a box or bare. A minority reasons in tags; some of these are hasty (a guess) or broken (a missing
tag). Some steps are wrong, with the error carried forward, and some reasoning switches the
language. So a base model knows the arithmetic but is uncertain, mixes languages, and rarely writes
the form that reinforcement learning rewards. No text is written about a held-out problem.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from rlvr.toy import problems
from rlvr.toy.problems import LANGUAGES, Chain, train_chain
from rlvr.toy.programs import train_program

__all__ = ["CLOSE", "LEAD", "TEMPLATE", "WorkedExample", "documents", "worked_examples"]

TEMPLATE = "User: {prompt}\nAssistant:"
"""The prompt template of the toy recipes; one of the layouts of the exchanges."""

DRILL_FRAC = 0.4
CODE_FRAC = 0.06
WORKED_DRILL_FRAC = 0.65  # of the drills: whole chains, in which facts have neighbours
WRONG_STEP_FRAC = {"en": 0.02, "zh": 0.05}
MIXED_FRAC = 0.25
NUM_DRILL_FACTS, NUM_DRILL_CHAINS = 6, 2
LEAD = {"en": "So ", "zh": "算得"}  # first words of a reasoning
CLOSE = {"en": ", ok", "zh": ",好"}  # its last words

_LAYOUTS = {
    "en": (TEMPLATE, "Q: {prompt}\nA:", "Problem: {prompt}\nSolution:"),
    "zh": (TEMPLATE, "问:{prompt}\n答:", "题目:{prompt}\n解:"),
}
_RESULT = {"en": ". The answer is {answer}.", "zh": "。答案是{answer}。"}
_BOXED = {"en": ". So \\boxed{{{answer}}}.", "zh": "。所以\\boxed{{{answer}}}。"}
_HASTY = {"en": ("Easy.", "Let me guess."), "zh": ("很简单。", "猜一下。")}
_STYLES = ("prose", "boxed", "bare", "reasoning", "hasty", "broken")
_STYLE_WEIGHTS = (0.48, 0.16, 0.10, 0.14, 0.06, 0.06)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedExample:
    """A training problem with a right completion that reasons first."""

    prompt: str  # before the template
    completion: str  # starts with the space that follows the template
    answer: str
    language: str


def documents(seed: int = 0) -> Iterator[str]:
    """Yield documents endlessly, each a drill, code or one exchange."""
    rng = random.Random(f"toy/corpus/{seed}")
    weights = (DRILL_FRAC, CODE_FRAC, 1 - DRILL_FRAC - CODE_FRAC)
    while True:
        (kind,) = rng.choices(("drill", "code", "exchange"), weights=weights)
        if kind == "drill":
            yield _drill(rng)
        elif kind == "code":
            yield "\n".join(train_program(rng).fenced_code for _ in range(2))
        else:
            yield _exchange(rng)


def worked_examples(num_examples: int = 300, *, seed: int = 0) -> list[WorkedExample]:
    """Return right, well-formed answers with all steps, such as `So 6*7-5=42-5=37, ok`."""
    rng = random.Random(f"toy/worked/{seed}")
    return [_worked_example(rng) for _ in range(num_examples)]


def _worked_example(rng: random.Random) -> WorkedExample:
    chain, language = train_chain(rng), rng.choice(LANGUAGES)
    return WorkedExample(
        prompt=chain.ask(language, rng),
        completion=_tagged(_steps(chain, chain.values, language) + CLOSE[language], chain.answer),
        answer=str(chain.answer),
        language=language,
    )


def _drill(rng: random.Random) -> str:
    """Return single facts, or chains worked step by step."""
    if rng.random() >= WORKED_DRILL_FRAC:
        return "\n".join(_fact(rng) for _ in range(NUM_DRILL_FACTS))
    chains = [train_chain(rng) for _ in range(NUM_DRILL_CHAINS)]
    steps = [_steps(chain, chain.values, "en") for chain in chains]
    return "\n".join(text.removeprefix(LEAD["en"]) for text in steps)


def _fact(rng: random.Random) -> str:
    if rng.random() < 0.15:
        left, right = (rng.randint(2, problems.LARGEST_FACTOR) for _ in range(2))
        return f"{left}*{right}={left * right}"
    largest = problems.LARGEST_VALUE
    value, term = rng.randint(1, largest), rng.randint(1, problems.LARGEST_TERM)
    if value - term > 0 and (value + term > largest or rng.random() < 0.5):
        term = -term
    if not 0 < value + term <= largest:
        return _fact(rng)
    return f"{value}{term:+d}={value + term}"


def _exchange(rng: random.Random) -> str:
    chain, language = train_chain(rng), rng.choice(LANGUAGES)
    prompt = chain.ask(language, rng)
    layout = rng.choice(_LAYOUTS[language])
    (style,) = rng.choices(_STYLES, weights=_STYLE_WEIGHTS)
    return layout.format(prompt=prompt) + _answer(style, chain, _drift(language, rng), rng)


def _answer(style: str, chain: Chain, language: str, rng: random.Random) -> str:
    if style == "bare":
        return f" {chain.answer}"
    if style == "hasty":
        guess = rng.choice(_HASTY[language])
        return _tagged(guess, max(1, chain.answer + rng.randint(-9, 9)))
    values = _worked_values(chain, language, rng)
    steps = _steps(chain, values, language)
    if style in ("prose", "boxed"):
        ending = (_RESULT if style == "prose" else _BOXED)[language]
        return " " + steps + ending.format(answer=values[-1])
    whole = _tagged(steps + CLOSE[_drift(language, rng)], values[-1])
    if style == "broken":
        return whole.replace(rng.choice(("<think>", "</think>", "<answer>", "</answer>")), "")
    return whole


def _drift(language: str, rng: random.Random) -> str:
    """Return the language in which an answer continues: occasionally another one."""
    if rng.random() >= MIXED_FRAC:
        return language
    return rng.choice([other for other in LANGUAGES if other != language])


def _tagged(reasoning: str, answer: int) -> str:
    return f" <think>{reasoning}</think><answer>{answer}</answer>"


def _worked_values(chain: Chain, language: str, rng: random.Random) -> tuple[int, ...]:
    """Return running results with occasional errors that never lead into a held-out problem."""
    while True:
        start = chain.values[0]
        values = [_slip(start, language, rng) if len(chain.head) == 2 else start]
        for term in chain.terms:
            values.append(_slip(values[-1] + term, language, rng))
        if chain.is_trainable(tuple(values)):
            return tuple(values)


def _slip(value: int, language: str, rng: random.Random) -> int:
    if rng.random() >= WRONG_STEP_FRAC[language]:
        return value
    return max(1, value + rng.choice((-10, -2, -1, 1, 2, 10)))


def _steps(chain: Chain, values: tuple[int, ...], language: str) -> str:
    """Return the expression after each step: `So 6*7-5+9=42-5+9=37+9=46`."""
    rests = ["".join(f"{term:+d}" for term in chain.terms[done:]) for done in range(len(values))]
    lines = [f"{value}{rest}" for value, rest in zip(values, rests, strict=True)]
    if len(chain.head) == 2:
        lines.insert(0, chain.expression)
    return LEAD[language] + "=".join(lines)
