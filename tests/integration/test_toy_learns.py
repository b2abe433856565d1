"""The toy recipes, only shorter: a base model, a few steps of GRPO, and it has learned."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from whole_runs import RLVR

ROOT = Path(__file__).parents[2]
TOY = ROOT / "recipes" / "toy"


def rlvr(*arguments: str) -> str:
    """Run a command and return its output."""
    done = subprocess.run([RLVR, *arguments], capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy base model, pretrained on a fifth of its text: it writes tags, its sums are poor."""
    folder = tmp_path_factory.mktemp("base")
    recipe = str(TOY / "base.yaml")
    rlvr("sft", recipe, f"output_dir={folder}", "num_rows=5120", "threads=1")
    return folder / "toy-base" / "model"


def test_a_base_model_learns_the_form_of_an_answer_in_a_few_steps(
    base: Path, tmp_path: Path
) -> None:
    shorter = ["num_steps=14", "checkpoint.every_steps=14", "eval.every_steps=null"]
    recipe = str(TOY / "zero.yaml")
    printed = rlvr("grpo", recipe, f"model.path={base}", f"output_dir={tmp_path}", *shorter)
    summary = json.loads((tmp_path / "toy-zero" / "summary.json").read_text())
    before, after = summary["before"]["format_frac"], summary["after"]["format_frac"]
    assert before < 0.4
    assert after > before + 0.2
    assert f"{before:.3f}" in printed
    assert f"{after:.3f}" in printed


def test_a_cold_start_writes_well_formed_answers_at_once(base: Path, tmp_path: Path) -> None:
    recipe = str(TOY / "worked.yaml")
    rlvr("sft", recipe, f"model={base}", f"output_dir={tmp_path}", "threads=1")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rewards import think_format

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "toy-worked" / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "toy-worked" / "model")
    prompt = tokenizer("User: 3+4-2 = ?\nAssistant:", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=64, do_sample=False)
    text = tokenizer.decode(written[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    assert think_format([text]) == [1.0], text
