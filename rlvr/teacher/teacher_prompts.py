"""A task's columns in a template, as chat messages, with the hashes of both.

Task --TeacherPrompt.render--> system?, examples as turns, user     hash_of(messages)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.data.prompts import fill_placeholders
from rlvr.errors import ConfigError
from rlvr.teacher.teacher_config import TeacherPromptSection
from rlvr.types import Task

__all__ = ["TeacherPrompt", "hash_of", "make_prompt"]

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherPrompt:
    """The template, with its files read; `asdict` gives its record for the run folder."""

    system: str | None
    user: str
    examples: Sequence[Mapping[str, str]]  # {"user": ..., "assistant": ...}, without placeholders
    prefill: str
    sha256: str  # of the four fields above

    def render(self, task: Task) -> Messages:
        """Return the chat messages for a task.

        Raises:
            ConfigError: names the task; it lacks a column, or is a conversation where the template
                needs text.
        """
        where = f"tasks: task {task.id}"
        values = {**task.columns, "prompt": task.prompt}
        messages: Messages = []
        if self.system is not None:
            text = fill_placeholders(self.system, values, where=where, key="prompt.system")
            messages.append({"role": "system", "content": text})
        for example in self.examples:
            messages.append({"role": "user", "content": example["user"]})
            messages.append({"role": "assistant", "content": example["assistant"]})
        if isinstance(task.prompt, str):
            text = fill_placeholders(self.user, values, where=where, key="prompt.user")
            return [*messages, {"role": "user", "content": text}]
        turns = [dict(message) for message in task.prompt]
        if self.user != "{prompt}":
            raise ConfigError(f"{where}: is a conversation, which requires prompt.user={{prompt}}")
        if turns[0]["role"] == "system" and (self.system is not None or self.examples):
            raise ConfigError(
                f"{where}: has its own system message; leave prompt.system and prompt.examples out"
            )
        return [*messages, *turns]


def make_prompt(section: TeacherPromptSection) -> TeacherPrompt:
    """Read the template's files. Raises ConfigError for one that cannot be read."""
    system, user = section.system, section.user
    if section.system_file is not None:
        system = _read_text(section.system_file, key="prompt.system_file")
    if section.user_file is not None:
        user = _read_text(section.user_file, key="prompt.user_file")
    examples = [{str(role): text for role, text in one.items()} for one in section.examples]
    return TeacherPrompt(
        system=system,
        user=user,
        examples=examples,
        prefill=section.prefill,
        sha256=hash_of([system, user, examples, section.prefill]),
    )


def hash_of(value: Any) -> str:
    """Return the SHA-256 of a value's JSON."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_text(path: str, *, key: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from None
