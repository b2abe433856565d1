"""What a teacher is asked: a task's columns in a template, examples before it, and their hashes.

Task, template --render--> chat messages      hash of the template, hash of what was rendered
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.data.placeholders import fill_placeholders
from rlvr.errors import ConfigError
from rlvr.teacher.teacher_config import TeacherPromptSection
from rlvr.types import Task

__all__ = ["TeacherPrompt", "hash_of", "make_prompt"]

Messages = list[dict[str, str]]

_PROMPT_ALONE = "{prompt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherPrompt:
    """The template, its files read."""

    system: str | None
    user: str
    examples: Sequence[Mapping[str, str]]  # user and assistant; nothing is filled in
    prefill: str
    sha256: str  # of all four

    def render(self, task: Task) -> Messages:
        """Chat messages. Raises ConfigError, naming the task: a column that it does not have, or a
        conversation where the template wants text."""
        where = f"tasks: task {task.id}"
        values = {**task.columns, "prompt": task.prompt}
        messages: Messages = []
        if self.system is not None:
            text = fill_placeholders(self.system, values, where=where, key="prompt.system")
            messages.append({"role": "system", "content": text})
        for example in self.examples:
            messages.append({"role": "user", "content": example["user"]})
            messages.append({"role": "assistant", "content": example["assistant"]})
        if not isinstance(task.prompt, str):
            return [*messages, *self._conversation(task, where)]
        text = fill_placeholders(self.user, values, where=where, key="prompt.user")
        return [*messages, {"role": "user", "content": text}]

    def _conversation(self, task: Task, where: str) -> Messages:
        assert not isinstance(task.prompt, str)
        if self.user != _PROMPT_ALONE:
            raise ConfigError(
                f"{where}: is a conversation, which goes with prompt.user={_PROMPT_ALONE} only"
            )
        said = [dict(message) for message in task.prompt]
        if said[0]["role"] == "system" and (self.system is not None or self.examples):
            raise ConfigError(
                f"{where}: has a system message of its own; leave prompt.system and "
                "prompt.examples out"
            )
        return said

    @property
    def record(self) -> dict[str, Any]:
        """For the run folder: what the hash is of, and the hash."""
        return {
            "system": self.system,
            "user": self.user,
            "examples": [dict(example) for example in self.examples],
            "prefill": self.prefill,
            "sha256": self.sha256,
        }


def make_prompt(section: TeacherPromptSection) -> TeacherPrompt:
    """Raises ConfigError for a file that cannot be read."""
    system = section.system
    if section.system_file is not None:
        system = _read(section.system_file, key="prompt.system_file")
    user = section.user
    if section.user_file is not None:
        user = _read(section.user_file, key="prompt.user_file")
    examples = [{str(who): text for who, text in one.items()} for one in section.examples]
    return TeacherPrompt(
        system=system,
        user=user,
        examples=examples,
        prefill=section.prefill,
        sha256=hash_of([system, user, examples, section.prefill]),
    )


def hash_of(value: Any) -> str:
    """SHA-256 of a value's JSON."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: str, *, key: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from None
