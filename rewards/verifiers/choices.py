# ruff: noqa: RUF001, RUF002 - full-width and Chinese punctuation is meant
r"""`multiple_choice`: 1 where the letter of the answer is the gold's, else 0.

    completion -> the last \boxed{}, else <answer>, else what follows the thought -> its letters

    | gold | right                                                   | wrong                     |
    |------|---------------------------------------------------------|---------------------------|
    | B    | B, b, (B), B., \text{B}, \boxed{B}, Ｂ, Ⓑ, B. 42, B: 42 | A, A or B, A and B, not B |
    |      | The answer is B., Option B, 答案是B, 选B, B选项         | 42, B or not              |
    | AC   | AC, A, C, C and A, A、C, (A)(C)                         | A, ABC                    |

Letters are A to J; several are a set. Where there is neither box nor tag and the text is longer,
all that it states ("the answer is ...", "答案是 ...") has to be the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rewards.grades import Grade, Outcome
from rewards.math.extract import answer_part, last_boxed
from rewards.transcript import Turn, as_turn, resolve_think_prefilled

__all__ = ["chosen_letters", "grade_choice", "grade_choices", "multiple_choice"]

_MAX_CHARS = 20_000
_SHORT_CHARS = 600  # what can be one choice with its text

_WRAPPING = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|boxed|fbox)\b|[${}*`\"'\s]|\\[()\[\]]")
_LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the|my)\s+)?(?:(?:final|correct|right|best)\s+)?"
    r"(?:answer|option|choice)(?:\s+is)?(?:\s+(?:option|choice))?\s*[:=]?\s*"
    r"|(?:所以|因此|故)?[,:]?\s*(?:最终|正确)?的?(?:答案|选项)?\s*(?:应?该?是|为|选择?)?\s*(?:选项)?\s*[:=]?\s*",
    re.IGNORECASE,
)
_ONE = re.compile(r"[(\[]?([A-Ja-j])[)\]]?\s*(?:选?项|是?正确的?)?\s*[.!]?")
_ONE_WITH_TEXT = re.compile(r"\(?([A-J])(?:[).:]|\)\s*[.:])\s*(?![A-J]\b)(?P<text>\S.*)", re.DOTALL)
_SEVERAL = re.compile(
    r"[(\[]?[A-J][)\]]?(?:(?:\s*(?:,|;|&|and|和|与|及)\s*|\s*)[(\[]?[A-J][)\]]?)+[.!]?"
)
_LETTER = re.compile(r"[A-J]")
_STATED = re.compile(
    r"(?:answer|option|choice)\s*(?:is|:|=)\s*(?:option|choice)?\s*[(\[*]{0,3}([A-J])(?![A-Za-z])"
    r"|(?:答案|选项)\s*(?:应?该?是|为|:|=)?\s*(?:选项?)?\s*[(\[*]{0,3}([A-J])(?![A-Za-z])"
    r"|(?:应?选|选择)\s*[(\[*]{0,3}([A-J])(?![A-Za-z])",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:or|not|nor|never|either|maybe|neither)\b|n't\b|不|或|非", re.IGNORECASE
)
_CHANGED = re.compile(
    rf"\b(?:wait|actually|instead|sorry|correction|not|wrong|incorrect|false)\b|\([A-J]\)|等等|应该|{_STATED.pattern}",
    re.IGNORECASE,
)


def multiple_choice(
    completions: Sequence[object],
    answer: Sequence[object],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[float | None]:
    r"""Is the letter of each completion that of the gold in `answer`? None: the gold is no letter.

        multiple_choice([r"\boxed{B}"], ["(B)"]) == [1.0]

    Raises:
        ValueError: lengths that differ, or a completion of neither kind.
    """
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    return [grade.value for grade in grade_choices(completions, answer, flags)]


def grade_choice(
    completion: object, answer: object, *, think_prefilled: bool | None = None
) -> Grade:
    """`multiple_choice` of one completion, with its outcome and a reason in words."""
    return grade_choices([completion], [answer], [bool(think_prefilled)])[0]


def grade_choices(
    completions: Sequence[object], answers: Sequence[object], think_prefilled: Sequence[bool]
) -> list[Grade]:
    """`grade_choice` for many at once."""
    if isinstance(answers, str) or len(answers) != len(completions):
        found = "one string" if isinstance(answers, str) else f"{len(answers)}"
        raise ValueError(f"answer: needs a list of {len(completions)} golds, not {found}")
    return [
        _grade(as_turn(completion), answer, is_open)
        for completion, answer, is_open in zip(completions, answers, think_prefilled, strict=True)
    ]


def _grade(turn: Turn, gold: object, think_prefilled: bool) -> Grade:
    right = chosen_letters(gold) if isinstance(gold, str) else frozenset()
    if not right:
        reason = f"the gold answer is {str(gold)[:60]!r}, not a letter from A to J"
        return Grade(value=None, outcome=Outcome.UNGRADABLE_GOLD, reason=reason)
    part = answer_part(turn, think_prefilled)
    if isinstance(part, Grade):
        return part
    text = part[0]
    boxed = last_boxed(text)
    chosen = chosen_letters(text if boxed is None else boxed)
    if not chosen and boxed is None:
        chosen = _statedchosen_letters(text)
    if not chosen:
        outcome = Outcome.WRONG if part[1] or boxed is not None else Outcome.NO_ANSWER
        return Grade(value=0.0, outcome=outcome, reason="it states no one choice")
    if chosen == right:
        return Grade(value=1.0, outcome=Outcome.CORRECT, reason="")
    reason = f"{_shown(chosen)} is not {_shown(right)}"
    return Grade(value=0.0, outcome=Outcome.WRONG, reason=reason)


def chosen_letters(text: str) -> frozenset[str]:
    """The letters of an answer that is nothing but a choice, or some; else none."""
    if len(text) > _SHORT_CHARS:
        return frozenset()
    bare = _WRAPPING.sub(" ", _plain(text)).strip()
    lead_in = _LEAD_IN.match(bare)
    bare = " ".join((bare[lead_in.end() :] if lead_in is not None else bare).split())
    one = _ONE.fullmatch(bare)
    if one is not None:
        return frozenset(one[1].upper())
    if _SEVERAL.fullmatch(bare):
        return frozenset(_LETTER.findall(bare))
    with_text = _ONE_WITH_TEXT.fullmatch(bare)
    if with_text is None or _REFUSED.match(with_text["text"]) or _CHANGED.search(with_text["text"]):
        return frozenset()
    return frozenset(with_text[1])


def _statedchosen_letters(text: str) -> frozenset[str]:
    """The letter that a text states, where it states no other and takes none back."""
    if len(text) > _MAX_CHARS:
        return frozenset()
    plain = _plain(text)
    stated = list(_STATED.finditer(plain))
    letters = {next(filter(None, found.groups())).upper() for found in stated}
    before = (plain[max(0, found.start() - 24) : found.start()] for found in stated)
    after = (plain[found.end() : found.end() + 12].lstrip(" )]*,") for found in stated)
    is_refused = any(map(_REFUSED.search, before)) or any(map(_REFUSED.match, after))
    return frozenset(letters) if len(letters) == 1 and not is_refused else frozenset()


def _plain(text: str) -> str:
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text.translate(_PUNCTUATION))


_PUNCTUATION = {
    ord(mark): plain for mark, plain in zip("。、【】“”‘’", ".,()\"\"''", strict=True)
} | dict.fromkeys(range(0x300, 0x370))  # no accents: normalizing is quadratic in runs of them


def _shown(letters: frozenset[str]) -> str:
    return "".join(sorted(letters))
