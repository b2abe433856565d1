"""Samples in other projects' formats: written and read again, byte for byte where it matters."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlvr.data.formats import FORMATS, join_reply, read_samples, split_reply, write_exports
from rlvr.data.prompts import fill_placeholders
from rlvr.errors import ConfigError, RLVRError

ROWS: list[dict[str, Any]] = [
    {"prompt": "2+3?", "reasoning_content": " 2\n\nand 3", "content": "5\n"},
    {"prompt": "二加三?", "reasoning_content": "二和三", "content": "\\boxed{五}"},
    {"prompt": "Hello", "reasoning_content": None, "content": "Hi"},
    {"prompt": "Hello", "reasoning_content": "", "content": "Hi"},
    {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "2+3?"},
            {"role": "assistant", "content": "5"},
            {"role": "user", "content": "And 4?"},
        ],
        "reasoning_content": "5 and 4",
        "content": "9",
    },
]
MEDICAL = [
    {"Question": "Which nerve?", "Complex_CoT": "Wrist drop ...", "Response": "The radial."},
    {"Question": "为什么?", "Complex_CoT": "先看症状", "Response": "因为{x}。"},
    {"Question": "a\nb", "Complex_CoT": " c ", "Response": ""},
]
COLUMNS = {"question": "Question", "cot": "Complex_CoT", "response": "Response"}
TEMPLATE = "### Question:\n{question}\n\n### Response:\n<think>\n{think}\n</think>\n{answer}{{eos}}"


def write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_written_file_is_read_unchanged(name: str, tmp_path: Path) -> None:
    [file, *_] = write_exports(tmp_path, ROWS, name="mine", formats=[name])
    assert list(read_samples(str(file))) == ROWS
    assert list(read_samples(str(tmp_path))) == ROWS  # by the folder's dataset_info.json


def test_a_folder_of_several_is_read_by_name(tmp_path: Path) -> None:
    write_exports(tmp_path, ROWS, name="mine", formats=list(FORMATS))
    for name in FORMATS:
        assert list(read_samples(f"{tmp_path}#mine_{name}")) == ROWS
    with pytest.raises(ConfigError, match=r"no data set None; it has mine_.*FOLDER#NAME"):
        next(read_samples(str(tmp_path)))


def test_the_formats_are_those_of_llama_factory(tmp_path: Path) -> None:
    write_exports(tmp_path, ROWS[4:], name="mine", formats=["alpaca", "sharegpt", "messages"])
    reply = "<think>\n5 and 4\n</think>\n\n9"
    assert json.loads((tmp_path / "mine_alpaca.json").read_text()) == [
        {
            "instruction": "And 4?",
            "input": "",
            "output": reply,
            "system": "Be brief.",
            "history": [["2+3?", "5"]],
        }
    ]
    said = [("human", "2+3?"), ("gpt", "5"), ("human", "And 4?"), ("gpt", reply)]
    assert json.loads((tmp_path / "mine_sharegpt.json").read_text()) == [
        {"conversations": [{"from": f, "value": v} for f, v in said], "system": "Be brief."}
    ]
    [record] = json.loads((tmp_path / "mine_messages.json").read_text())
    assert [m["role"] for m in record["messages"]] == ["system", *["user", "assistant"] * 2]
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["mine_alpaca"] == {
        "file_name": "mine_alpaca.json",
        "columns": {
            "prompt": "instruction",
            "query": "input",
            "response": "output",
            "system": "system",
            "history": "history",
        },
    }
    assert info["mine_sharegpt"]["formatting"] == info["mine_messages"]["formatting"] == "sharegpt"
    recipe = yaml.safe_load((tmp_path / "mine_sft.yaml").read_text())
    assert (recipe["stage"], recipe["dataset"], recipe["dataset_dir"]) == (
        "sft",
        "mine_alpaca",
        ".",
    )
    assert recipe["learning_rate"] == 1e-4


def test_text_is_utf8_and_not_escaped_and_no_temporary_file_remains(tmp_path: Path) -> None:
    write_exports(tmp_path, ROWS, name="mine", formats=["alpaca"])
    assert "二加三?".encode() in (tmp_path / "mine_alpaca.json").read_bytes()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mine_alpaca.json", "dataset_info.json", "mine_sft.yaml"}


def test_a_full_disk_is_one_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    file, *_ = write_exports(tmp_path, ROWS, name="mine", formats=["alpaca"])
    before = file.read_bytes()
    (tmp_path / "mine_alpaca.json.tmp").symlink_to("/dev/full")
    with pytest.raises(RLVRError, match=r"mine_alpaca.json: cannot be written: .*; make room"):
        write_exports(tmp_path, ROWS * 2, name="mine", formats=["alpaca"])
    assert file.read_bytes() == before


def test_columns_and_a_template_make_the_exact_text(tmp_path: Path) -> None:
    path = write_json(tmp_path / "medical.json", MEDICAL)
    rows = list(read_samples(path, columns=COLUMNS, template=TEMPLATE))
    assert [row["text"] for row in rows] == [
        "### Question:\nWhich nerve?\n\n### Response:\n<think>\nWrist drop ...\n</think>\n"
        "The radial.{eos}",
        "### Question:\n为什么?\n\n### Response:\n<think>\n先看症状\n</think>\n因为{x}。{eos}",
        "### Question:\na\nb\n\n### Response:\n<think>\n c \n</think>\n{eos}",
    ]
    assert rows[0]["prompt"] == "Which nerve?"
    assert (rows[0]["reasoning_content"], rows[0]["content"]) == ("Wrist drop ...", "The radial.")


def test_a_missing_column_or_value_names_the_row(tmp_path: Path) -> None:
    path = write_json(tmp_path / "medical.json", [MEDICAL[0], {"Question": "?", "Response": "!"}])
    line = rf"{path}:2: no column 'Complex_CoT' for cot; columns found: 'Question', 'Response'"
    with pytest.raises(ConfigError, match=line):
        list(read_samples(path, columns=COLUMNS))
    line = rf"{path}:1: has no 'instruction' for the {{instruction}} of data.template; it has "
    with pytest.raises(ConfigError, match=line):
        list(read_samples(path, columns=COLUMNS, template="{instruction}\n{answer}"))


def test_rows_that_are_null_broken_or_dropped_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_json(tmp_path / "m.json", [{**MEDICAL[0], "Response": None}, MEDICAL[1]])
    with caplog.at_level(logging.WARNING):
        assert len(list(read_samples(path, columns=COLUMNS))) == 1
    assert f"skipped 1 of 2 rows; {path}:1: Response is null" in caplog.text
    said = [{"role": "user", "content": "2+3?"}]
    replies = ["<think>a", "<think>a</think><think>b</think>5", "<think>a</think>5"]
    chats = [{"messages": [*said, {"role": "assistant", "content": one}]} for one in replies]
    chats += [{"messages": said}, {"messages": [*said, {"role": "tool", "content": "5"}]}]
    assert len(list(read_samples(write_json(tmp_path / "c.json", chats)))) == 1
    kept = {"prompt": "2+3?", "reasoning_content": "a", "content": "5", "kept": True}
    own = [kept, {**kept, "kept": False, "dropped_because": "score: 0 is below 5"}]
    assert list(read_samples(write_json(tmp_path / "rows.json", own))) == [kept]


def test_formats_are_recognized_by_their_columns(tmp_path: Path) -> None:
    five = {"prompt": "2+3?", "reasoning_content": "a", "content": "5"}
    asked = {"role": "user", "content": "2+3?"}
    records: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (
            {"input": "2+3?", "reasoning_content": "a", "content": "5", "score": 10},
            {**five, "score": 10},
        ),
        (
            {"messages": [asked, {"role": "assistant", "content": "5", "reasoning_content": "a"}]},
            five,
        ),
        (
            {"instruction": "2+", "input": "3?", "output": "a\n</think>5"},
            {**five, "prompt": "2+\n3?"},
        ),
        ({"text": "as it is"}, {"text": "as it is"}),
        ({"prompt": "2+3?", "completion": " 5"}, {"prompt": "2+3?", "completion": " 5"}),
    ]
    for record, row in records:
        assert list(read_samples(write_json(tmp_path / "rows.json", [record]))) == [row]
    with pytest.raises(ConfigError, match=r"rows.json:1: unknown format; columns found: 'a'"):
        list(read_samples(write_json(tmp_path / "rows.json", [{"a": 1}])))


def test_columns_and_tags_of_an_index_are_followed(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [{"q": "2+3?", "a": "5"}])
    turns = [{"who": "U", "says": "2+3?"}, {"who": "A", "says": "<think>a</think>5"}]
    write_json(tmp_path / "s.json", [{"talk": turns}])
    info = {
        "plain": {"file_name": "a.json", "columns": {"prompt": "q", "response": "a"}},
        "chat": {
            "file_name": "s.json",
            "formatting": "sharegpt",
            "columns": {"messages": "talk"},
            "tags": {
                "role_tag": "who",
                "content_tag": "says",
                "user_tag": "U",
                "assistant_tag": "A",
            },
        },
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    expected = {"prompt": "2+3?", "reasoning_content": None, "content": "5"}
    assert list(read_samples(f"{tmp_path}#plain")) == [expected]
    assert list(read_samples(f"{tmp_path}#chat")) == [{**expected, "reasoning_content": "a"}]


@pytest.mark.parametrize(
    ("thought", "content"), [("a", "b"), ("\n a\n", "\nb "), ("", ""), (None, "b")]
)
def test_a_joined_reply_is_split_unchanged(thought: str | None, content: str) -> None:
    assert split_reply(join_reply(thought, content)) == (thought, content)


def test_placeholders_leave_latex_and_other_braces_alone() -> None:
    template = r"{a} \boxed{a} {{a}} { a } {} {a b} {b}"
    filled = fill_placeholders(template, {"a": "{b}", "b": 2}, where="row 1", key="prompt")
    assert filled == r"{b} \boxed{a} {a} { a } {} {a b} 2"
