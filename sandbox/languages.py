"""The languages: their tools, and the commands that compile and run a program."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Final

from sandbox.verdicts import SandboxUnavailable

__all__ = ["LANGUAGES", "Language", "language_named", "tool_path"]

_SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language; `{}` in a command is replaced by the tool's path."""

    name: str
    source: str  # file name of the code
    tool: str | None = None  # None: the worker's own interpreter
    compile: tuple[str, ...] = ()
    run: tuple[str, ...] = ()  # if nothing is compiled
    package: str = ""  # Debian package of the tool
    needs_address_space: bool = False  # it reserves far more than it uses
    note_without_forks: str = ""  # added to the reason of a failure in a tier without forks


LANGUAGES: Final = {
    language.name: language
    for language in (
        Language(name="python", source="main.py"),
        Language(
            name="c",
            source="main.c",
            tool="gcc",
            compile=("{}", "-O2", "-std=gnu17", "-o", "main", "main.c", "-lm"),
            package="gcc libc6-dev",
        ),
        Language(
            name="cpp",
            source="main.cpp",
            tool="g++",
            compile=("{}", "-O2", "-std=gnu++17", "-o", "main", "main.cpp"),
            package="g++",
        ),
        Language(
            name="bash",
            source="main.sh",
            tool="bash",
            run=("{}", "--noprofile", "--norc", "main.sh"),
            package="bash",
            note_without_forks="; in this tier bash runs its built-ins only",
        ),
        Language(
            name="javascript",
            source="main.js",
            tool="node",
            run=("{}", "main.js"),
            package="nodejs",
            needs_address_space=True,
        ),
    )
}
_OTHER_NAMES: Final = {"c++": "cpp", "js": "javascript", "py": "python", "python3": "python"}


def language_named(name: str) -> Language:
    """Raises ValueError for an unknown language."""
    language = LANGUAGES.get(_OTHER_NAMES.get(name, name))
    if language is None:
        raise ValueError(f"language is {name!r}; allowed: {', '.join(LANGUAGES)}")
    return language


def tool_path(language: Language) -> str:
    """Raises SandboxUnavailable if the tool is not installed."""
    assert language.tool is not None
    path = shutil.which(language.tool, path=_SEARCH_PATH)
    if path is None:
        raise SandboxUnavailable(
            f"{language.name} needs {language.tool}, which is not in {_SEARCH_PATH}; "
            f"on Debian: apt-get install {language.package}"
        )
    return path
