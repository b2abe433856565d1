"""Real data: English and Chinese problems are of their language, and of no other."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rewards import grade_language

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = [
    ("gsm8k/train.jsonl.gz", "question", "en"),
    ("gsm8k/train.jsonl.gz", "answer", "en"),
    ("svamp/svamp.jsonl.gz", "Body", "en"),
    ("cmath/train_400.jsonl.gz", "input", "zh"),
]


def shares(name: str, field: str, language: str) -> list[float]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there: this test reads real problems")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)[field] for line in lines][:1000]
    grades = [grade_language(f"<think>{text}</think>", language) for text in texts]
    return [grade.value for grade in grades if grade.value is not None]


@pytest.mark.parametrize(("name", "field", "language"), SETS)
def test_real_problems_are_of_their_language(name: str, field: str, language: str) -> None:
    values = shares(name, field, language)
    assert len(values) >= 400
    assert sum(values) / len(values) > 0.99
    assert sum(value > 0.9 for value in values) / len(values) > 0.97


@pytest.mark.parametrize(("name", "field", "language"), SETS)
def test_real_problems_are_of_no_other_language(name: str, field: str, language: str) -> None:
    for other in {"en", "zh", "de", "fr", "it"} - {language}:
        values = shares(name, field, other)
        assert sum(values) / len(values) < 0.01, other
