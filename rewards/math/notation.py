# ruff: noqa: RUF001 - full-width and Chinese punctuation is intended
r"""One notation for answers: Unicode, LaTeX spacing, fractions, wrappers.

`normalize` keeps the value: `\left( \dfrac34 ,\, 5 \right).` becomes `(\frac{3}{4},5)`.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["normalize"]

_SUPERSCRIPTS = {
    ord(mark): plain for mark, plain in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+", strict=True)
}
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_SUBSCRIPTS = {ord(mark): plain for mark, plain in zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)}
_SUBSCRIPT_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_ROOT = re.compile(
    r"([√∛∜])\s*(?:\(((?:[^()]|\([^()]*\))*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|[A-Za-zπ]))"
)
_ROOT_DEGREES = {"√": "", "∛": "[3]", "∜": "[4]"}
_SPECIAL = str.maketrans(
    {"ℝ": r"\mathbb{R}", "ℚ": r"\mathbb{Q}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
     "ℂ": r"\mathbb{C}", "㎡": "m^2", "㎝": "cm", "㎞": "km", "㎏": "kg", "㎜": "mm", "㎥": "m^3",
     "㎠": "cm^2", "¢": " cents", "∶": ":"}
)  # fmt: skip
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_SYMBOLS = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "﹣": "-", "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ",
        "÷": "/", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ", "≤": r"\le ", "≥": r"\ge ",
        "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "∈": r"\in ",
        "′": "'", "‘": "'", "’": "'",
        "“": '"', "”": '"', "、": ",", "。": ".", "【": "[", "】": "]",
        "≈": r"\approx ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "〈": "<", "〉": ">",
        "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "≡": r"\equiv ",
        "∠": r"\angle ", "⟨": r"\langle ", "⟩": r"\rangle ",
    }
)  # fmt: skip

_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))
_SPACED_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?: |~|\\,)\d{3})+(?:\.\d+)?")
_ALL_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\{([^{}]*\d[^{}]*)\}", re.ASCII)
_FUNCTION_NAME = re.compile(
    r"(?<![\\A-Za-z{])(arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|ln|log|exp|pi)(?![A-Za-z])"
)
_DOTS = re.compile(r"(?<=\d)(?:\.{3,}|\\(?:[lc]?dots))$")
_COLOR = re.compile(r"\\(?:(?:text)?color\{\w+\}|underline|boldsymbol|bm|mathbf)\{([^{}]*)\}")
_PARENTHESIZED_MATRIX = re.compile(
    r"[(\[]\\begin\{(matrix|array)\}(?:\{[lcr]*\})?((?:(?!\\begin).)*)\\end\{\1\}[)\]]", re.DOTALL
)
_BARE_SET = re.compile(r"\{([^{}]*,[^{}]*)\}")
_WHOLE_PARAMETER = re.compile(
    r"[ ,;(]*(?:\\text\{[^{}\d]{0,20}\} ?)?\(?[knm] ?\\in ?(?:\\mathbb ?\{? ?Z ?\}?|Z)\)*$"
)
_BARE_LETTER_SET = re.compile(r"\\mathbb ([A-Z])(?![A-Za-z])")
_LEADING_SPACE = re.compile(r"^(?:\\[,;:! ]|~|\s)+")
_PHANTOM = re.compile(r"\\[hv]?phantom ?(?:\{[^{}]{0,40}\}|\S)")
_MEMBER = re.compile(r"[A-Za-z] ?\\in ?([(\[\\].*)", re.DOTALL)
_SOLUTIONS = re.compile(
    r"\\\{ ?([a-z]) ?(?:\\mid(?![A-Za-z])|[|:]) ?"
    r"((?:(?!\\in(?![A-Za-z]))[^|:])*(?:[<>=]|\\(?:le|ge|ne)(?![A-Za-z]))(?:(?!\\in(?![A-Za-z]))[^|:])*)\\\}"
)
_ALL_REALS = re.compile(r"\\mathbb ?(?:\{ ?R ?\}|R)")
_ALIASES = {
    r"\varnothing": r"\emptyset", r"\neq": r"\ne", r"\leq": r"\le", r"\geq": r"\ge",
    r"\lbrace": r"\{", r"\rbrace": r"\}", r"\colon": ":", r"\lg": r"\log_{10}",
    r"\langle": "(", r"\rangle": ")", r"\dbinom": r"\binom", r"\tbinom": r"\binom",
    r"\gt": ">", r"\lt": "<", r"\geqslant": r"\ge", r"\leqslant": r"\le", r"\vee": r"\lor",
    r"\wedge": r"\land", r"\R": r"\mathbb{R}", r"\Reals": r"\mathbb{R}", r"\lvert": "|",
    r"\rvert": "|", r"\vert": "|",
}  # fmt: skip
# Patterns and replacements, in order.
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|[bB]ig{1,2}[lrm]?)(?![A-Za-z])\.?", ""),
        (r"\{,\}", ","),
        (r"\\!", ""),
        (
            r"(?<!\\)\\[!,;:> ]|~|\\(?:displaystyle|textstyle|limits|quad|qquad|hspace\{[^{}]*\})",
            " ",
        ),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:text|mathrm|mbox)\{\s*([,;])\s*\}", r"\1"),
        (r"\\binom ?(?:\{([^{}]*)\}|(\d)) ?(?:\{([^{}]*)\}|(\d))", r"\\binom{\1\2}{\3\4}"),
        (
            r"\\frac\s*(?:\{([^{}]*)\}|(\d)|(?<=\s)([A-Za-z])|(\\(?!sqrt)[A-Za-z]+))"
            r"\s*(?:\{([^{}]*)\}|(\d|[A-Za-z])|(\\(?!sqrt)[A-Za-z]+))",
            r"\\frac{\1\2\3\4}{\5\6\7}",
        ),
        (r"\\sqrt\s*(\d|(?<=\s)[A-Za-z])", r"\\sqrt{\1}"),
        (r"(\\sqrt\[[^\[\]{}]{1,4}\]) ?(\d|[A-Za-z](?![A-Za-z]))", r"\1{\2}"),
        (r"<=(?!>)", r"\\le "),
        (r"(?<!<)>=", r"\\ge "),
        (rf"({'|'.join(map(re.escape, _ALIASES))})(?![A-Za-z])", lambda name: _ALIASES[name[1]]),
        (r"\\mathrm\{ ?([ei]) ?\}", r"\1"),  # the numbers e and i, upright
        (r"(?<=[-+=(])\\(?:text|mathrm)\{ ?([A-Za-z]) ?\}", r"\1"),
        (r"\\log ?_ ?(?:e|\{ ?(?:e|\\(?:mathrm|text)\{ ?e ?\}) ?\})(?![A-Za-z])", r"\\ln "),
        (r"(?<![\\A-Za-z])sqrt ?(?:\(([^()]*)\)|(\d+))", r"\\sqrt{\1\2}"),
    )
]
_SPACES = re.compile(r"\s+")
_SPACED_MARK = re.compile(r"\s*([,()\[\]{}=+/<>|^_-])\s*")
_GROUPED_THOUSANDS = re.compile(r"\{(\d{1,3}(?:,\d{3})+)\}")
_FORMULA_END = ".,;:。"  # not "!": 4! is 24


def normalize(text: str) -> str:
    """Return the answer in one notation; empty if nothing but markup is left."""
    if not text.isascii():
        text = _plain_characters(text)
    text = _unwrap_math(_PHANTOM.sub("", text))
    text = _DOTS.sub(r"\\ldots", _LEADING_SPACE.sub("", text))
    if text.startswith("\\"):
        colored = _COLOR.fullmatch(text)
        text = _unwrap_math(colored[1]) if colored is not None else text
        text = _unwrap_math(_ALL_TEXT.sub(r"\1", text)) if _ALL_TEXT.fullmatch(text) else text
    if _SPACED_THOUSANDS.fullmatch(text):
        return re.sub(r" |~|\\,", "", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    if "\\text" not in text:
        text = _FUNCTION_NAME.sub(r"\\\1 ", text)
    text = _SPACED_MARK.sub(r"\1", _SPACES.sub(" ", text))
    text = _GROUPED_THOUSANDS.sub(lambda group: group[0].replace(",", ""), text)
    text = _BARE_LETTER_SET.sub(r"\\mathbb{\1}", text.strip().rstrip(_FORMULA_END).rstrip())
    text = _WHOLE_PARAMETER.sub("", text) or text
    return _named_shapes(text.removesuffix("\\\\").rstrip())


def _named_shapes(text: str) -> str:
    r"""Write matrices as pmatrix, x in a set as the set, {1,2} as `\{1,2\}`."""
    matrix = _PARENTHESIZED_MATRIX.fullmatch(text)
    if matrix is not None:
        return rf"\begin{{pmatrix}}{matrix[2]}\end{{pmatrix}}"
    bare_set = _BARE_SET.fullmatch(text)
    if bare_set is not None:
        return rf"\{{{bare_set[1]}\}}"
    member = _MEMBER.fullmatch(text) or _SOLUTIONS.fullmatch(text)
    text = member[member.re.groups].strip() if member is not None else text
    if _ALL_REALS.fullmatch(text):
        return r"(-\infty,\infty)"
    return r"\emptyset" if text in (r"\{\}", r"\{ \}") else text


def _unwrap_math(text: str) -> str:
    r"""Remove `$...$`, `\(...\)`, `\[...\]`, `**...**` and backticks around the whole text."""
    text = text.strip()
    for _ in range(3):
        bare = text.rstrip(_FORMULA_END)
        for opening, closing in _WRAPPERS:
            inside = bare[len(opening) : len(bare) - len(closing)]
            unescaped = inside.replace(r"\$", "")
            if not unescaped or opening in unescaped or closing in unescaped:
                continue
            if bare.startswith(opening) and bare.endswith(closing):
                text = inside.strip()
                break
        else:
            return text
    return text


def _plain_characters(text: str) -> str:
    """Write Unicode digits, letters and operators in ASCII and LaTeX; keep other letters."""
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _SUBSCRIPT_RUN.sub(lambda run: "_{" + run.group().translate(_SUBSCRIPTS) + "}", text)
    text = _VULGAR.sub(_latex_fraction, text)
    for _ in range(3):  # roots in roots
        text = _ROOT.sub(_latex_root, text)
    text = text.translate(_SPECIAL)
    text = unicodedata.normalize("NFKC", text).translate(_SYMBOLS)
    return "".join(
        str(unicodedata.digit(mark)) if not mark.isascii() and mark.isdecimal() else mark
        for mark in text
        if mark.isspace() or unicodedata.category(mark)[0] != "C"
    )


def _latex_fraction(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match.group()).partition("⁄")
    return rf"\frac{{{top}}}{{{bottom}}}"


def _latex_root(match: re.Match[str]) -> str:
    inside = match[2] or match[3] or match[4] or ""
    return rf"\sqrt{_ROOT_DEGREES[match[1]]}{{{inside}}}"
