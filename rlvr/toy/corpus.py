"""The toy world's plain text for pretraining, and worked examples for a cold start.

Most of the text holds no tag at all: drills of single facts, code, and exchanges answered in prose,
in a box or bare. A minority thinks in tags; of that some is hasty (no steps, a guess) or broken (a
tag is missing). A share `WRONG_STEP_FRAC` of all worked steps is wrong and the error is carried on,
more of them in Chinese, and a share `MIXED_FRAC` of all thoughts leaves the question's language or
its own, as in text found in the wild. So a base model knows the arithmetic, doubts it, mixes
languages, and seldom writes the form that reinforcement learning asks for.

No text is ever written about a held-out problem.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rlvr.toy import wordings
from rlvr.toy.problems import LARGEST_FACTOR, LARGEST_TERM, LARGEST_VALUE, Chain, train_chain
from rlvr.toy.programs import train_program, written_program

__all__ = ["TEMPLATE", "WorkedExample", "documents", "worked_examples", "worked_thought"]

TEMPLATE = "User: {prompt}\nAssistant:"
"""How recipes for this world render a prompt; one of the layouts of its exchanges."""

DRILL_FRAC = 0.3
CODE_FRAC = 0.06
WRONG_STEP_FRAC = {"en": 0.04, "zh": 0.09}
MIXED_FRAC = 0.25
NUM_DRILL_FACTS = 6

_LAYOUTS = {
    "en": (TEMPLATE, "Q: {prompt}\nA:", "Problem: {prompt}\nSolution:"),
    "zh": (TEMPLATE, "问:{prompt}\n答:", "题目:{prompt}\n解:"),
}
_LEAD = {"en": "So ", "zh": "算得"}
_CLOSE = {"en": ", ok", "zh": ",好"}
_RESULT = {"en": ". The answer is {answer}.", "zh": "。答案是{answer}。"}
_BOXED = {"en": ". So \\boxed{{{answer}}}.", "zh": "。所以\\boxed{{{answer}}}。"}
_HASTY = {"en": ("Easy.", "Let me guess."), "zh": ("很简单。", "猜一下。")}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedExample:
    """A training problem with a completion that thinks first and is right."""

    prompt: str  # before the template
    completion: str  # begins with the space that follows the template
    answer: str
    language: str


def documents(seed: int = 0) -> Iterator[str]:
    """Documents without end, each a drill or one exchange; never about a held-out problem."""
    rng = random.Random(f"toy/corpus/{seed}")
    while True:
        (write,) = rng.choices((_drill, _code, _exchange), weights=_DOCUMENT_WEIGHTS)
        yield write(rng)


def worked_examples(num_examples: int = 300, *, seed: int = 0) -> list[WorkedExample]:
    """Right, well-formed answers with every step worked, about training problems."""
    rng = random.Random(f"toy/worked/{seed}")
    examples = []
    for _ in range(num_examples):
        chain, language = train_chain(rng), rng.choice(wordings.LANGUAGES)
        examples.append(
            WorkedExample(
                prompt=wordings.ask(chain.head, chain.terms, language=language, rng=rng),
                completion=_tagged(worked_thought(chain, language), chain.answer),
                answer=str(chain.answer),
                language=language,
            )
        )
    return examples


def worked_thought(chain: Chain, language: str) -> str:
    """All steps, right, in one language: `So 6*7-5=42-5=37, ok`."""
    return _written_steps(chain, chain.values, language) + _CLOSE[language]


def _code(rng: random.Random) -> str:
    """Programs as they lie about, without a word on what they are for."""
    return "\n".join(written_program(train_program(rng)) for _ in range(2))


def _drill(rng: random.Random) -> str:
    return "\n".join(_fact(rng) for _ in range(NUM_DRILL_FACTS))


def _fact(rng: random.Random) -> str:
    if rng.random() < 0.15:
        left, right = rng.randint(2, LARGEST_FACTOR), rng.randint(2, LARGEST_FACTOR)
        return f"{left}*{right}={left * right}"
    value, term = rng.randint(1, LARGEST_VALUE), rng.randint(1, LARGEST_TERM)
    if value - term > 0 and (value + term > LARGEST_VALUE or rng.random() < 0.5):
        term = -term
    if not 0 < value + term <= LARGEST_VALUE:
        return _fact(rng)
    return f"{value}{term:+d}={value + term}"


def _exchange(rng: random.Random) -> str:
    chain, language = train_chain(rng), rng.choice(wordings.LANGUAGES)
    prompt = wordings.ask(chain.head, chain.terms, language=language, rng=rng)
    layout = rng.choice(_LAYOUTS[language])
    write = rng.choices(_WRITERS, weights=_WEIGHTS)[0]
    return layout.format(prompt=prompt) + write(chain, _drifted(language, rng), rng)


def _prose(chain: Chain, language: str, rng: random.Random) -> str:
    values = _worked_values(chain, language, rng)
    steps = _written_steps(chain, values, language)
    return " " + steps + _RESULT[language].format(answer=values[-1])


def _boxed(chain: Chain, language: str, rng: random.Random) -> str:
    values = _worked_values(chain, language, rng)
    steps = _written_steps(chain, values, language)
    return " " + steps + _BOXED[language].format(answer=values[-1])


def _bare(chain: Chain, language: str, rng: random.Random) -> str:
    return f" {chain.answer}"


def _thoughtful(chain: Chain, language: str, rng: random.Random) -> str:
    values = _worked_values(chain, language, rng)
    closing = _CLOSE[_drifted(language, rng)]
    return _tagged(_written_steps(chain, values, language) + closing, values[-1])


def _hasty(chain: Chain, language: str, rng: random.Random) -> str:
    return _tagged(rng.choice(_HASTY[language]), _guess(chain, rng))


def _broken(chain: Chain, language: str, rng: random.Random) -> str:
    whole = _thoughtful(chain, language, rng)
    missing = rng.choice(("<think>", "</think>", "<answer>", "</answer>"))
    return whole.replace(missing, "")


_WRITERS: tuple[Callable[[Chain, str, random.Random], str], ...] = (
    _prose,
    _boxed,
    _bare,
    _thoughtful,
    _hasty,
    _broken,
)
_WEIGHTS = (0.48, 0.16, 0.10, 0.14, 0.06, 0.06)
_DOCUMENT_WEIGHTS = (DRILL_FRAC, CODE_FRAC, 1 - DRILL_FRAC - CODE_FRAC)


def _drifted(language: str, rng: random.Random) -> str:
    """The language that is written in after `language`: now and then another one."""
    if rng.random() >= MIXED_FRAC:
        return language
    return rng.choice([other for other in wordings.LANGUAGES if other != language])


def _tagged(thought: str, answer: int) -> str:
    return f" <think>{thought}</think><answer>{answer}</answer>"


def _guess(chain: Chain, rng: random.Random) -> int:
    return max(1, chain.answer + rng.randint(-9, 9))


def _worked_values(chain: Chain, language: str, rng: random.Random) -> tuple[int, ...]:
    """Running results of a writer who errs now and then, but never into a held-out problem."""
    while True:
        values = _careless_values(chain, WRONG_STEP_FRAC[language], rng)
        if chain.is_trainable(values):
            return values


def _careless_values(chain: Chain, wrong_frac: float, rng: random.Random) -> tuple[int, ...]:
    """Running results in which an error is carried on."""
    value = _slip(chain.values[0], wrong_frac, rng) if len(chain.head) == 2 else chain.values[0]
    values = [value]
    for term in chain.terms:
        value = _slip(value + term, wrong_frac, rng)
        values.append(value)
    return tuple(values)


def _slip(value: int, wrong_frac: float, rng: random.Random) -> int:
    if rng.random() >= wrong_frac:
        return value
    return max(1, value + rng.choice((-10, -2, -1, 1, 2, 10)))


def _written_steps(chain: Chain, values: tuple[int, ...], language: str) -> str:
    """The expression again and again, each time with one step done: `So 6*7-5+9=42-5+9=37+9=46`."""
    rests = ["".join(f"{term:+d}" for term in chain.terms[done:]) for done in range(len(values))]
    lines = [f"{value}{rest}" for value, rest in zip(values, rests, strict=True)]
    if len(chain.head) == 2:
        lines.insert(0, chain.expression)
    return _LEAD[language] + "=".join(lines)
