"""Adapters and rows: files read as tasks, and the one-line errors of malformed ones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlvr.data.tasks import ADAPTERS, TaskList, TaskSource, open_tasks, place_of
from rlvr.errors import ConfigError
from rlvr.types import Task

DATA = Path(__file__).parents[3].parent / "shared/data"


def write_jsonl(path: Path, rows: Sequence[Any]) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def error_of(source: str = "jsonl", **options: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        open_tasks(source, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def tasks_of(source: TaskSource) -> list[Task]:
    assert source.num_tasks is not None
    return [source.task(index) for index in range(source.num_tasks)]


ROWS = [{"prompt": "2+3?", "answer": "5"}, {"prompt": "1+1?", "answer": 2}]
TASKS = [
    Task(id="jsonl/1", prompt="2+3?", columns={"answer": "5"}),
    Task(id="jsonl/2", prompt="1+1?", columns={"answer": "2"}),
]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_jsonl_becomes_tasks_named_by_their_line(tmp_path: Path, name: str) -> None:
    source = open_tasks("jsonl", path=write_jsonl(tmp_path / name, ROWS))
    assert tasks_of(source) == TASKS


def test_a_json_list_becomes_the_same_tasks(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    assert tasks_of(open_tasks("jsonl", path=str(path))) == TASKS


def test_parquet_becomes_the_same_tasks(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"prompt": ["2+3?", "1+1?"], "answer": ["5", "2"]}), path)
    assert tasks_of(open_tasks("jsonl", path=str(path))) == TASKS


def test_a_saved_data_set_becomes_the_same_tasks(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"prompt": "2+3?", "answer": "5"}, {"prompt": "1+1?", "answer": "2"}]
    datasets.DatasetDict(train=datasets.Dataset.from_list(rows)).save_to_disk(tmp_path / "saved")
    assert tasks_of(open_tasks("jsonl", path=str(tmp_path / "saved"))) == TASKS
    assert "split 'test'" in error_of(path=str(tmp_path / "saved"), split="test")


def test_blank_lines_and_a_byte_order_mark_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\n{"prompt": "2+3?", "answer": "5"}\n\n')
    assert [task.id for task in tasks_of(open_tasks("jsonl", path=str(path)))] == ["jsonl/2"]


def test_columns_are_renamed_and_all_others_kept(tmp_path: Path) -> None:
    row = {"frage": "2+3?", "gold": 5.0, "lang": "de", "notes": ["x"], "prompt": "not this one"}
    path = write_jsonl(tmp_path / "rows.jsonl", [row])
    columns = {"prompt": "frage", "answer": "gold", "language": "lang"}
    task = open_tasks("jsonl", path=path, columns=columns).task(0)
    assert task.prompt == "2+3?"
    assert task.columns == {"answer": "5", "language": "de", "notes": ["x"]}


def test_each_task_has_the_columns_of_the_whole_file(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "hint": 1}, {"prompt": "b", "level": 2}, {"prompt": "c"}]
    source = open_tasks("jsonl", path=write_jsonl(tmp_path / "rows.jsonl", rows))
    assert [task.columns for task in tasks_of(source)] == [
        {"hint": 1, "level": None},
        {"hint": None, "level": 2},
        {"hint": None, "level": None},
    ]


def test_arguments_of_the_trainer_are_not_taken_from_a_row(tmp_path: Path) -> None:
    row = {"prompt": "a", "completions": ["x"], "prompts": "p", "completion_ids": 1, "ok": 1}
    source = open_tasks("jsonl", path=write_jsonl(tmp_path / "rows.jsonl", [row]))
    assert source.task(0).columns == {"ok": 1}


def test_the_row_of_a_task_is_found_again(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    source = open_tasks("jsonl", path=path)
    assert place_of(source.task(1), source) == f"{path}:2"
    assert place_of(TASKS[0], TaskList(name="mine", tasks=tuple(TASKS))) == "task jsonl/1"


def test_rows_without_an_answer_need_no_mapping(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"prompt": "Sort.", "cases": "[]"}])
    assert open_tasks("jsonl", path=path).task(0).columns == {"cases": "[]"}
    task = open_tasks("jsonl", path=path, columns={"tests": "cases"}).task(0)
    assert task.columns == {"tests": "[]"}


def test_an_empty_mapping_leaves_the_answer_out(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    assert open_tasks("jsonl", path=path, columns={"answer": ""}).task(0).columns == {}


def test_a_prompt_may_be_a_conversation(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "2+3?"}]
    path = write_jsonl(tmp_path / "rows.jsonl", [{"prompt": messages, "answer": "5"}])
    assert open_tasks("jsonl", path=path).task(0).prompt == messages


def test_a_prompt_that_no_tokenizer_reads_is_skipped(tmp_path: Path) -> None:
    rows = [{"prompt": "a\ud800b"}, {"prompt": "ok"}]
    source = open_tasks("jsonl", path=write_jsonl(tmp_path / "rows.jsonl", rows))
    assert isinstance(source, TaskList)
    assert [task.prompt for task in source.tasks] == ["ok"]
    assert "rows.jsonl:1: the prompt has half a surrogate pair" in source.skipped[0]


def test_num_tasks_takes_the_first_and_a_split_takes_a_slice(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", "answer": i} for i in range(1, 11)]
    path = write_jsonl(tmp_path / "train.jsonl", rows)

    def ids(**options: Any) -> list[str]:
        return [
            task.columns["answer"] for task in tasks_of(open_tasks("jsonl", path=path, **options))
        ]

    assert ids(num_tasks=2) == ["1", "2"]
    assert ids(split="[8:]") == ["9", "10"]
    assert ids(split="train[-3:-1]") == ["8", "9"]
    assert ids(split="train", num_tasks=1) == ["1"]
    assert "without a split 'test'" in error_of(path=path, split="test")
    assert "not a slice" in error_of(path=path, split="[:10%]")
    assert "num_tasks: 0" in error_of(path=path, num_tasks=0)


def test_gsm8k_reads_the_number_after_the_marks(tmp_path: Path) -> None:
    rows = [
        {"question": "How many?", "answer": "2*540=<<2*540=1080>>1080\n#### 1,080"},
        {"question": "How many?", "answer": "It is 7."},
        {"question": "How cold?", "answer": "#### -3"},
    ]
    source = open_tasks("gsm8k", path=write_jsonl(tmp_path / "rows.jsonl", rows))
    assert isinstance(source, TaskList)
    assert [(task.id, task.columns["answer"]) for task in source.tasks] == [
        ("gsm8k/1", "1080"),
        ("gsm8k/3", "-3"),
    ]
    [skipped] = source.skipped
    assert skipped.endswith("rows.jsonl:2: the answer does not end in '#### NUMBER'")


def test_math_reads_an_answer_or_the_last_box_of_a_solution(tmp_path: Path) -> None:
    solution = r"So \boxed{1}. No: $x = \boxed{\frac{1}{2}}$."
    answers = write_jsonl(tmp_path / "a.jsonl", [{"problem": "x?", "answer": "(1, 2]"}])
    solutions = write_jsonl(tmp_path / "s.jsonl", [{"problem": "x?", "solution": solution}])
    assert open_tasks("math", path=answers).task(0).columns["answer"] == "(1, 2]"
    assert open_tasks("math", path=solutions).task(0).columns["answer"] == r"\frac{1}{2}"


def test_countdown_makes_its_prompt_and_keeps_a_stored_solution(tmp_path: Path) -> None:
    row = {"nums": [1, 2, 3], "target": 6}
    path = write_jsonl(tmp_path / "a.jsonl", [row])
    task = open_tasks("countdown", path=path).task(0)
    assert task.columns == {"numbers": [1, 2, 3], "target": 6}
    assert "1, 2, 3" in task.prompt and "value is 6" in task.prompt
    path = write_jsonl(tmp_path / "b.jsonl", [{**row, "solution": "1+2+3"}])
    assert open_tasks("countdown", path=path).task(0).columns["answer"] == "1+2+3"


def test_a_row_without_the_column_is_named_with_the_columns_found(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [*ROWS, {"prompt": "3?", "gold": 3}])
    assert error_of(path=path) == (
        f"{path}:3: no column 'answer' for answer; columns found: 'prompt', 'gold'; "
        "set tasks.columns.answer=COLUMN"
    )


def test_an_unreadable_file_is_named_with_its_line(tmp_path: Path) -> None:
    good = '{"prompt": "2+3?", "answer": "5"}\n'
    cases = {
        "bad.jsonl": (f"{good}{{'prompt'\n".encode(), "bad.jsonl:2: not JSON"),
        "list.jsonl": (f"{good}[1]\n".encode(), "list.jsonl:2: the row is a list"),
        "digits.jsonl": (
            b'{"a": ' + b"9" * 5000 + b"}",
            "digits.jsonl:1: invalid JSON",
        ),
        "latin.jsonl": (good.encode() + b'{"prompt": "\xff"}', "latin.jsonl:"),
        "plain.jsonl.gz": (good.encode(), "plain.jsonl.gz:1: cannot be read"),
        "cut.jsonl.gz": (gzip.compress(good.encode())[:-9], "cut.jsonl.gz:"),
        "object.json": (b'{\n"a": 1}', "is not a list"),
        "bad.json": (b"[\n{]", "bad.json:2: not JSON"),
        "bad.parquet": (b"PAR1", "not a parquet file"),
        "empty.jsonl": (b"\n", "empty.jsonl holds no row"),
        "rows.xml": (b"a,b", "rows.xml is not a .jsonl"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert message in error_of(path=str(tmp_path / name)), name


def test_errors_of_a_recipe_name_the_key() -> None:
    assert "there is no file ./none.jsonl" in error_of(path="./none.jsonl")
    assert error_of(path=None) == "tasks.path: source jsonl needs a file or a datasets name"
    unknown = error_of("gsmk8", section="evaluation")
    assert unknown.startswith("evaluation.source: 'gsmk8' is unknown; allowed: ")
    assert ", gsm8k, " in unknown
    assert ", toy, " in unknown
    assert unknown.endswith(", or pkg.module:function")
    assert "rewards with prompts" in error_of(path="x.jsonl", columns={"prompts": "p"})
    assert "columns.answer: is empty" in error_of("gsm8k", columns={"answer": ""})
    assert "no module 'nowhere'" in error_of("nowhere.tasks:make")
    assert "no function 'nothing'" in error_of("json:nothing")
    assert "leave path=x out" in error_of("toy", path="x")
    assert "allowed: train, heldout" in error_of("toy", split="test")
    assert "num_tasks is 1001" in error_of("toy", split="heldout", num_tasks=1001)


def test_a_file_without_a_readable_row_is_refused(tmp_path: Path) -> None:
    rows = [{"prompt": "2+3?", "answer": None}, {"prompt": " ", "answer": "1"}]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    message = f"{path}: none of its 2 rows makes a task; {path}:1: the answer is empty"
    assert error_of(path=path) == message


OWN_TASKS = """
from rlvr.types import Task

def make(*, num_tasks, seed, **options):
    return [Task(id=f"own/{i}", prompt=f"{i}+{seed}?") for i in range(num_tasks)]

def make_twins(**options):
    return [Task(id="own/1", prompt="a"), Task(id="own/1", prompt="b")]

def make_text(**options):
    return ["2+3?"]
"""


def test_a_users_function_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tasks.py").write_text(OWN_TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = open_tasks("own_tasks:make", num_tasks=2, seed=7)
    assert [task.prompt for task in tasks_of(source)] == ["0+7?", "1+7?"]
    assert "two tasks with the id 'own/1'" in error_of("own_tasks:make_twins")
    assert "neither a TaskSource nor a non-empty list" in error_of("own_tasks:make_text")


def test_every_source_keeps_the_contract(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    sources = [
        open_tasks("jsonl", path=path),
        open_tasks("toy", seed=3),
        open_tasks("toy", num_tasks=2),
        open_tasks("toy", split="heldout", num_tasks=2),
    ]
    for source in sources:
        assert isinstance(source, TaskSource)
        assert source.num_tasks in (None, 2)
        assert source.task(1) == source.task(1)
        assert source.task(0).id != source.task(1).id


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here")
@pytest.mark.parametrize(
    ("name", "file", "num_tasks", "skipped_rows"),
    [
        ("gsm8k", "gsm8k/train.jsonl.gz", 7473, []),
        ("math", "math_train/train.jsonl.gz", 7470, [887, 1010, 5329, 5331]),
        ("countdown", "countdown/sample_500.jsonl.gz", 500, []),
    ],
)
def test_real_rows_are_read_and_the_unreadable_ones_named(
    name: str, file: str, num_tasks: int, skipped_rows: list[int]
) -> None:
    path = str(DATA / file)
    source = open_tasks(name, path=path)
    assert isinstance(source, TaskList)
    assert source.num_tasks == num_tasks
    assert source.skipped == tuple(f"{path}:{row}: the answer is empty" for row in skipped_rows)
    assert set(ADAPTERS) >= {name}


def test_rows_with_tests_become_tasks_for_code_rewards(tmp_path: Path) -> None:
    tests = {"cases": [{"input": "1", "output": "2"}]}
    path = write_jsonl(
        tmp_path / "rows.jsonl",
        [{"prompt": "a", "tests": tests}, {"prompt": "b", "tests": ""}],
    )
    source = open_tasks("code", path=path)
    [task] = tasks_of(source)
    assert json.loads(task.columns["tests"]) == tests
    assert isinstance(source, TaskList)
    assert "the tests are neither text nor an object" in source.skipped[0]


def test_mbpp_shows_one_assert_and_hides_the_others(tmp_path: Path) -> None:
    row = {
        "prompt": "Write f.",
        "code": "def f(x): return x",
        "test_imports": ["import math"],
        "test_list": ["assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 3"],
    }
    [task] = tasks_of(open_tasks("mbpp", path=write_jsonl(tmp_path / "rows.jsonl", [row])))
    assert "assert f(1) == 1" in str(task.prompt)
    assert "f(2)" not in str(task.prompt)
    assert json.loads(task.columns["tests"]) == {
        "asserts": row["test_list"],
        "setup": "import math",
    }
    assert task.columns["solution"] == row["code"]


def test_prompts_of_a_text_file_a_csv_and_jsonl_are_equal(tmp_path: Path) -> None:
    prompts = ["Stocks rise, again", '"Quoted" news', "股市上涨"]
    (tmp_path / "a.txt").write_text("\n".join(prompts) + "\n\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text(
        '\ufeffid,prompt\n1,"Stocks rise, again"\n2,"""Quoted"" news"\n3,股市上涨\n',
        encoding="utf-8",
    )
    write_jsonl(tmp_path / "a.jsonl", [{"prompt": prompt} for prompt in prompts])
    for name in ("a.txt", "a.csv", "a.jsonl"):
        source = open_tasks("jsonl", path=str(tmp_path / name), columns={"answer": ""})
        assert [task.prompt for task in tasks_of(source)] == prompts, name


def test_a_csv_row_with_too_many_or_too_few_values_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for row in ("5", "5,5,5"):
        path.write_text(f"prompt,answer\n2+3?,5\n{row}\n", encoding="utf-8")
        assert f"{path}:2: the row and the header differ in length" in error_of(path=str(path))
