"""The arithmetic and the files of the growth benchmark."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.growth_points import AXES, SHAPES, Point, any_number, points_of, slope, work_flops
from bench.growth_report import BEGIN, END, Measurement, exponent_of, write_report
from bench.wide_model import make_wide_model

MACHINE = {
    "date": "2026-01-02",
    "processor": "CPU",
    "cores": [0, 1],
    "load_before": 0.5,
    "load_after": 2.0,
    "wall_s": 600.0,
}


def found_of(axis: int, *, exponent: float) -> list[Measurement]:
    """Step times that grow like work (engines: value) to a power."""
    points = AXES[axis].points
    work = [work_flops(point, prompt_tokens=16) for point in points]
    base = work if AXES[axis].adds_work else [point.value for point in points]
    return [
        Measurement(
            axis=AXES[axis].name,
            value=point.value,
            work=amount,
            num_tokens=100,
            step_s=(x / base[0]) ** exponent,
            generate_s=1.0,
            learn_s=0.5,
            sync_s=0.0,
        )
        for point, amount, x in zip(points, work, base, strict=True)
    ]


def test_slope_is_the_exponent_of_a_power() -> None:
    assert slope([1, 10, 100], [3, 30, 300]) == pytest.approx(1)
    assert slope([1, 2, 4], [5, 20, 80]) == pytest.approx(2)
    assert slope([1, 2, 4], [7, 7, 7]) == pytest.approx(0)


def test_work_of_linear_layers_head_and_attention_by_hand() -> None:
    """One task, two completions of 2 tokens after a prompt of 1, in a model of 1 layer."""
    shape = replace(
        SHAPES["1M"],
        hidden_size=8,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        intermediate_size=10,
    )
    linear = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 10  # query, key and value, output; MLP
    assert shape.linear_params == linear
    point = Point(value=1, shape=shape, tasks=1, group_size=2, max_tokens=2)
    prompt = 2 * linear + 4 * 8 * 1
    completion = 2 * (2 * linear) + 4 * 8 * (2 + 3) + 2 * (2 * 8 * 640)
    assert work_flops(point, prompt_tokens=1) == 4 * (prompt + 2 * completion)


def test_the_shapes_are_of_the_sizes_that_they_are_called() -> None:
    millions = {name: round(shape.num_params / 1e6, 1) for name, shape in SHAPES.items()}
    assert millions == {"1M": 1.1, "4M": 4.1, "15M": 14.4, "60M": 59.4}


def test_axes_cover_the_promised_ranges() -> None:
    ranges = {axis.name: (axis.points[0].value, axis.points[-1].value) for axis in AXES}
    assert ranges["group_size"] == (4, 64)
    assert ranges["length"] == (128, 2048)
    assert ranges["engines"] == (1, 4)
    for axis in AXES:
        for point in axis.points:
            assert point.tasks % point.num_engines == 0
    (engines,) = (axis for axis in AXES if axis.name == "engines")
    assert len({work_flops(point, prompt_tokens=16) for point in engines.points}) == 1


def test_points_with_the_same_actors_share_a_session() -> None:
    sessions = points_of(AXES)
    assert len(sessions) == 6  # 1, 2 and 4 engines with the smallest model, three larger models
    assert sum(map(len, sessions.values())) == sum(len(axis.points) for axis in AXES)


def test_an_exponent_above_the_limit_is_seen() -> None:
    assert exponent_of(AXES[0], found_of(0, exponent=1.0)).is_within_limit
    steep = exponent_of(AXES[0], found_of(0, exponent=1.2))
    assert steep.step == pytest.approx(1.2) and steep.last == pytest.approx(1.2)
    assert not steep.is_within_limit
    assert exponent_of(AXES[2], found_of(2, exponent=0.0)).is_within_limit
    assert not exponent_of(AXES[2], found_of(2, exponent=0.5)).is_within_limit


def test_rewards_differ_within_a_group() -> None:
    values = any_number([f"text {i}" for i in range(64)])
    assert len(set(values)) == 64 and all(0 <= value < 1 for value in values)


def test_the_report_is_json_plot_and_a_section_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "bench" / "results").mkdir(parents=True)
    page = tmp_path / "docs" / "benchmarks.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n", encoding="utf-8")
    found = [one for i in range(4) for one in found_of(i, exponent=0.5)]
    text = write_report(MACHINE, AXES, found, root=tmp_path)
    assert "| completions of a task | 64 |" in text
    assert text.count("**0.50**") == 4
    written = page.read_text(encoding="utf-8")
    assert written.startswith(f"# Title\n\n{BEGIN}\n![") and written.endswith(f"{END}\n\nrest\n")
    assert "old" not in written and text in written
    plot = ElementTree.fromstring((tmp_path / "docs" / "growth.svg").read_text(encoding="utf-8"))
    lines = [element for element in plot.iter() if element.tag.endswith("polyline")]
    assert len(lines) == 16  # four in each of four panels
    assert (tmp_path / "bench" / "results" / "growth.json").exists()


def test_the_page_has_the_markers() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)


def test_a_model_without_an_end_never_samples_it(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    sizes = {"hidden_size": 64, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1}
    make_wide_model(tmp_path, mean_tokens=None, **sizes)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        probs = model(torch.arange(2, 202).view(2, 100)).logits.softmax(-1)
    end = model.config.eos_token_id
    assert float(probs[..., end].max()) == 0.0
    assert float(probs[..., end + 1 :].max()) > 0.0
