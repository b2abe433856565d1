"""Which label of a closed set a reply gives.

"体育"   "**体育**。"   "<answer>体育</answer>"   "... \\boxed{体育}"   "Label: 体育"   --> 体育
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rewards.math.extract import last_boxed

__all__ = ["read_label"]

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_NAMED = re.compile(r"^[^:：]{0,24}[:：]")  # noqa: RUF001 - full-width colons are meant
_AROUND = " \t\r\n*_`'\"“”‘’「」《》()（）[]【】.。,，;；!！"  # noqa: RUF001


def read_label(content: str, labels: Sequence[str]) -> str | None:
    """The label, as the set writes it; None: what the reply gives is none of them."""
    known = {_bare(label): label for label in labels}
    return next((known[text] for text in map(_bare, _stated(content)) if text in known), None)


def _stated(content: str) -> Iterator[str]:
    """Where a label may stand, the clearest place first."""
    tagged = _TAGGED.findall(content)
    if tagged:
        yield tagged[-1]
    boxed = last_boxed(content)
    if boxed:
        yield boxed
    yield content
    lines = content.strip().splitlines()
    if lines:
        yield lines[-1]
        yield _NAMED.sub("", lines[-1].strip(_AROUND))


def _bare(text: str) -> str:
    return text.strip(_AROUND).casefold()
