"""`python -m sandbox doctor` and `python -m sandbox run FILE`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import sandbox
from sandbox.languages import LANGUAGES, tool_path
from sandbox.tiers import REMEDIES, probe
from sandbox.verdicts import Limits, SandboxUnavailable, Verdict

_SUFFIXES = {Path(language.source).suffix: name for name, language in LANGUAGES.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 success, 1 the program failed or no tier works, 2 wrong input."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="which isolation works here, and how to get a better one")
    run = commands.add_parser("run", help="run a program; its stdin, stdout and stderr are yours")
    run.add_argument("file", metavar="FILE")
    run.add_argument("--language", choices=sorted(LANGUAGES), help="default: by the file's suffix")
    for limit in fields(Limits):
        flag, kind = f"--{limit.name.replace('_', '-')}", int if limit.type == "int" else float
        run.add_argument(flag, type=kind, default=limit.default, metavar="N")
    options = parser.parse_args(arguments)
    try:
        return _doctor() if options.command == "doctor" else _run(options)
    except SandboxUnavailable as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except (OSError, UnicodeDecodeError, ValueError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2


def _doctor() -> int:
    print(f"Linux {platform.release()}, {platform.machine()}, Python {platform.python_version()}")
    works = []
    for name in REMEDIES:
        try:
            tier = probe(name)
        except SandboxUnavailable as error:
            print(f"{name:<11} refused: {error}\n{'':<11} remedy: {REMEDIES[name]}")
            continue
        works.append(name)
        print(f"{name:<11} works (Landlock ABI {tier.details['landlock_abi']})")
        tier.close()
    for language in LANGUAGES.values():
        if language.tool is not None:
            try:
                found = tool_path(language)
            except SandboxUnavailable as error:
                found = str(error)
            print(f"{language.name:<11} {found}")
    if not works:
        print("No tier works: code rewards raise SandboxUnavailable on this machine.")
        return 1
    print(f"In use: {sandbox.the_tier().name} (SANDBOX_TIER in the environment forces another)")
    return 0


def _run(options: argparse.Namespace) -> int:
    path = Path(options.file)
    language = options.language or _SUFFIXES.get(path.suffix)
    if language is None:
        known = ", ".join(sorted(_SUFFIXES))
        raise ValueError(f"{path}: no language for the suffix {path.suffix!r}; known: {known}")
    limits = Limits(**{limit.name: getattr(options, limit.name) for limit in fields(Limits)})
    code = path.read_text("utf-8")
    stdin = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    result = sandbox.run(code, language=language, stdin=stdin, limits=limits)
    sys.stdout.buffer.write(result.stdout)
    sys.stdout.flush()
    sys.stderr.buffer.write(result.stderr)
    sys.stderr.flush()
    used = f"{result.wall_s:.3f} s, {result.cpu_s:.3f} s of processor time"
    print(
        f"sandbox: {result.verdict}{': ' if result.reason else ''}{result.reason} "
        f"({used}, {result.peak_memory_bytes >> 20} MiB)",
        file=sys.stderr,
    )
    return 0 if result.verdict is Verdict.ACCEPTED else 1


if __name__ == "__main__":
    sys.exit(main())
