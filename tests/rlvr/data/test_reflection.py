"""Words of reflection, counted in a text and over the steps of a run."""

from __future__ import annotations

from rlvr.data.reasoning_tags import num_reflection_words


def test_reflection_words_are_whole_words() -> None:
    text = "Wait, that is wrong. But let me check: however, a waiter rechecks butter."
    assert num_reflection_words(text) == 5  # wait, wrong, but, check, however
    assert num_reflection_words("等等,这不对。让我重新验证。") == 4
    assert num_reflection_words("Two and three make five.") == 0
