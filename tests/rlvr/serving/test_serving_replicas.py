"""Server processes: their command lines, and that they end with their owner."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from model_folders import write_model
from tokenizers import Tokenizer, models

from rlvr.cli import main
from rlvr.cluster.processes import free_port
from rlvr.data.prompts import make_template
from rlvr.errors import RLVRError
from rlvr.serving.serve_config import model_recipe
from rlvr.serving.server_spec import ServerSpec, server_command, server_env
from rlvr.serving.vllm_server import ServerProcess, wait_healthy

pytestmark = pytest.mark.slow  # servers are started and killed

# answers /health, and has a child in a session of its own that would outlive it
SERVER = """
import http.server, os, subprocess, sys
print("server", os.getpid(), flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         start_new_session=True)
print("child", child.pid, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def a_server(folder: Path) -> ServerProcess:
    port = free_port()
    return ServerProcess(
        [sys.executable, "-c", SERVER, str(port)],
        env=dict(os.environ),
        url=f"http://127.0.0.1:{port}",
        log=folder / "server.log",
    )


def named(name: str, log: Path) -> list[int]:
    """Process ids that servers have logged."""
    words = [line.split() for line in log.read_text().splitlines()]
    return [int(rest[0]) for first, *rest in words if first == name]


def is_alive(process_id: int) -> bool:
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def assert_gone(process_id: int) -> None:
    end = time.monotonic() + 15
    while is_alive(process_id):
        assert time.monotonic() < end, "it is still there"
        time.sleep(0.1)


def test_nothing_is_left_of_a_server_that_is_stopped(tmp_path: Path) -> None:
    server = a_server(tmp_path)
    server.start()
    wait_healthy(server, deadline_s=30)
    server.stop()
    assert not server.is_running
    assert_gone(named("child", server.log)[0])


def test_nothing_is_left_of_a_server_whose_owner_is_killed(tmp_path: Path) -> None:
    code = f"""
import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
from pathlib import Path
from test_serving_replicas import a_server
from rlvr.serving.vllm_server import wait_healthy
server = a_server(Path({str(tmp_path)!r}))
server.start()
wait_healthy(server, deadline_s=30)
print("up", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        owner.kill()
    assert_gone(named("child", tmp_path / "server.log")[0])


def test_a_server_that_dies_at_once_is_reported_with_its_last_error(tmp_path: Path) -> None:
    server = ServerProcess(
        [sys.executable, "-c", "raise ValueError('no such flag')"],
        env=dict(os.environ),
        url=f"http://127.0.0.1:{free_port()}",
        log=tmp_path / "server.log",
    )
    server.start()
    with pytest.raises(RLVRError, match=r"the server ended: ValueError: no such flag .*log\)"):
        wait_healthy(server, deadline_s=30)
    server.stop()


def options(command: list[str]) -> dict[str, str]:
    """`--name value` pairs; a switch has the next flag for its value."""
    return {a: b for a, b in zip(command, [*command[1:], ""], strict=True) if a.startswith("--")}


def test_a_server_on_a_cpu(tiny_qwen: Path, tmp_path: Path) -> None:
    template = make_template("User: {prompt}", prefill="<think>")
    spec = ServerSpec(model_path=str(tiny_qwen), template=template, threads=3)
    command = server_command(spec, port=7, folder=tmp_path)
    assert command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    found = options(command)
    assert found["--model"] == str(tiny_qwen.resolve())
    assert (found["--port"], found["--reasoning-parser"]) == ("7", "think_text_open")
    assert found["--max-num-batched-tokens"] == "9000"  # the longest prompt is not cut
    assert Path(found["--chat-template"]).read_text().endswith("{{- '<think>' -}}{%- endif -%}")
    assert server_env(spec)["OMP_NUM_THREADS"] == "3"
    assert server_env(spec)["CUDA_VISIBLE_DEVICES"] == ""


def test_a_server_on_gpus(tiny_qwen: Path, tmp_path: Path) -> None:
    own = {"chat_template": "x"}
    (tiny_qwen / "tokenizer_config.json").write_text(json.dumps(own))
    spec = ServerSpec(
        model_path=str(tiny_qwen),
        template=make_template("chat"),
        gpus=("2", "3"),
        kv_cache_gib=None,
        tensor_parallel=2,
        engine={"quantization": "fp8", "enable_prefix_caching": False, "max_num_seqs": 7},
    )
    found = options(server_command(spec, port=7, folder=tmp_path))
    assert server_env(spec)["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert (found["--quantization"], found["--max-num-seqs"]) == ("fp8", "7")
    assert found["--reasoning-parser"] == "deepseek_r1"  # its own template, its tags are tokens
    assert "--no-enable-prefix-caching" in found
    assert not found.keys() & {"--chat-template", "--enforce-eager", "--kv-cache-memory-bytes"}


@pytest.fixture
def tiny_qwen(tmp_path: Path) -> Path:
    """The files of a model that are read before it is served."""
    folder = tmp_path / "run" / "model"
    write_model(folder, max_position_embeddings=9000)
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_the_recipe_of_a_folder_has_the_template_of_its_run(tiny_qwen: Path) -> None:
    prompt = {"template": "Q: {prompt}", "prefill": "", "answer_style": "r1"}
    (tiny_qwen.parent / "config.yaml").write_text(yaml.safe_dump({"prompt": prompt}))
    recipe = model_recipe(str(tiny_qwen.parent))
    assert recipe == model_recipe(str(tiny_qwen))
    assert recipe["name"] == "serve-run"
    assert recipe["prompt"] == {"template": "Q: {prompt}", "prefill": ""}


@pytest.fixture
def checkpoint(tiny_qwen: Path) -> Path:
    """A checkpoint of step 20 of the run that `tiny_qwen` belongs to, which goes on."""
    run = tiny_qwen.parent
    (run / "config.yaml").write_text(yaml.safe_dump({"prompt": {"template": "Q: {prompt}"}}))
    folder = run / "checkpoints" / "step_000020"
    folder.mkdir(parents=True)
    (folder / "state.json").touch()
    tiny_qwen.rename(folder / "model")
    return folder


def test_the_recipe_of_a_checkpoint_has_the_template_of_its_run(checkpoint: Path) -> None:
    run = checkpoint.parents[1]
    recipe = model_recipe(f"{run}@20")
    assert recipe == model_recipe(str(run)) == model_recipe(str(checkpoint))
    assert recipe["name"] == "serve-run-step_000020"
    assert recipe["model"] == {"path": str(checkpoint / "model")}
    assert recipe["prompt"] == {"template": "Q: {prompt}"}


def test_a_checkpoint_is_served_from_a_copy_of_its_own(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"{checkpoint.parents[1]}@20"
    assert main(["serve", run, "serve.dry_run=true", f"output_dir={tmp_path}"]) == 0
    copy = tmp_path / "serve-run-step_000020" / "base"
    assert f" --model {copy.resolve()} " in capsys.readouterr().out
    shutil.rmtree(checkpoint)
    assert (copy / "model.safetensors").exists()


def test_a_step_without_a_checkpoint_is_one_line(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("serve", "chat"):
        assert main([command, f"{checkpoint.parents[1]}@25"]) == 2
        error = capsys.readouterr().err
        assert "has no checkpoint of step 25; those on disk: 20;" in error
        assert error.count("\n") == 1


def test_a_dry_run_prints_a_command_for_each_replica(
    tiny_qwen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["prompt.template=plain", "serve.replicas=2", f"output_dir={tmp_path}"]
    status = main(["serve", str(tiny_qwen), "serve.dry_run=true", *overrides])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert [line.startswith("env CUDA_VISIBLE_DEVICES=") for line in lines] == [True, True]
    assert all("-m vllm.entrypoints.openai.api_server --model" in line for line in lines)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([], "has no chat template; give the one that it was trained with"),
        (["prompt.template=Q {question}"], "unknown placeholder {question}"),
        (["variant.path=runs/none"], "variant.path: no directory runs/none"),
        (["serve.replica=2"], "model: unknown key serve.replica; did you mean replicas?"),
        (["serve.port=70000"], "serve.port: 70000 is not allowed"),
    ],
)
def test_an_input_error_is_one_line(
    overrides: list[str], line: str, tiny_qwen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(tiny_qwen), *overrides]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
