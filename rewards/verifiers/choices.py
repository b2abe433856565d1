# ruff: noqa: RUF001 - full-width and Chinese punctuation is meant
r"""`multiple_choice`: 1 where an answer chooses the letter of the gold answer, else 0.

    completion -> the last \boxed{}, else <answer>, else the text after the reasoning -> its letters

Letters are A to J; several are a set. In a longer text without box and tag, all statements ("the
answer is ...", "答案是 ...") must name the same letter. docs/rewards.md has examples.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rewards.base import Grade, Outcome, one_each, reward
from rewards.math.extract import answer_part, last_boxed
from rewards.transcript import Turn, as_turns

__all__ = ["chosen_letters", "grade_choice", "multiple_choice"]

_MAX_CHARS = 20_000
_SHORT_CHARS = 600  # the most for one choice with its text

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


@reward(columns=("answer",))
def multiple_choice(
    completions: Sequence[object],
    answer: Sequence[object],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    r"""Reward 1 where a completion chooses the letter in `answer`, else 0.

    None where the gold answer is not a letter.

        multiple_choice([r"\boxed{B}"], ["(B)"]) == [1.0]
    """
    turns = as_turns(completions, think_prefilled, prompts)
    golds = one_each("answer", answer, len(completions))
    return [_grade(*turn, gold) for turn, gold in zip(turns, golds, strict=True)]


def grade_choice(
    completion: object, answer: object, *, think_prefilled: bool | None = None
) -> Grade:
    """Return the grade of one completion by `multiple_choice`."""
    return multiple_choice.grades([completion], [answer], think_prefilled=think_prefilled)[0]


def _grade(turn: Turn, think_prefilled: bool, gold: object) -> Grade:
    right = chosen_letters(gold) if isinstance(gold, str) else frozenset()
    if not right:
        reason = f"the gold answer is {str(gold)[:60]!r}, not a letter from A to J"
        return Grade.of(Outcome.UNGRADABLE_GOLD, reason)
    part = answer_part(turn, think_prefilled)
    if isinstance(part, Grade):
        return part
    text, is_tagged = part
    boxed = last_boxed(text)
    chosen = chosen_letters(text if boxed is None else boxed)
    if not chosen and boxed is None:
        chosen = _stated_letters(text)
    if not chosen:
        outcome = Outcome.WRONG if is_tagged or boxed is not None else Outcome.NO_ANSWER
        return Grade.of(outcome, "it does not state exactly one choice")
    if chosen == right:
        return Grade.of(Outcome.CORRECT)
    shown = ["".join(sorted(letters)) for letters in (chosen, right)]
    return Grade.of(Outcome.WRONG, f"{shown[0]} is not {shown[1]}")


def chosen_letters(text: str) -> frozenset[str]:
    """Return the letters of an answer that is only a choice, or several; else none."""
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


def _stated_letters(text: str) -> frozenset[str]:
    """Return the letter that a text states; none where it states another or retracts one."""
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
} | dict.fromkeys(range(0x300, 0x370))  # drop accents: normalizing is quadratic in runs of them
