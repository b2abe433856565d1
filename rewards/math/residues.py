r"""Remainders: 17 \bmod 5 is the number 2; x \equiv 8 \pmod 5 is x \equiv 3 \pmod 5."""

from __future__ import annotations

import re

__all__ = ["same_residue", "without_bmod"]

_BMOD = re.compile(r"([+-]?\d{1,50}) ?\\bmod ?\{?(\d{1,50})\}?", re.ASCII)
_RESIDUE = re.compile(
    r"(?:(?P<name>[A-Za-z]) ?\\equiv ?)?(?P<rest>[+-]?\d{1,50}) ?"
    r"(?:\\p?mod ?\{?|\((?:mod|\\(?:text|mathrm)\{ ?mod ?\}) ?)(?P<modulus>\d{1,50})[})]?",
    re.ASCII,
)


def without_bmod(text: str) -> str:
    r"""The value of `a \bmod m` for two numbers; every other text as it is."""
    match = _BMOD.fullmatch(text)
    return str(int(match[1]) % int(match[2])) if match and int(match[2]) else text


def same_residue(gold: str, answer: str) -> bool | None:
    """Whether both name one class of remainders; None where the gold names none."""
    first, second = _RESIDUE.fullmatch(gold), _RESIDUE.fullmatch(answer)
    if first is None:
        return None
    if second is None:
        return False
    modulus = int(first["modulus"])
    names = {first["name"], second["name"]} - {None}
    if not modulus or modulus != int(second["modulus"]) or len(names) > 1:
        return False
    return (int(first["rest"]) - int(second["rest"])) % modulus == 0
