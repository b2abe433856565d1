"""Two of vLLM's own servers under Ray Serve and the router before them, as a user has them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import psutil
from openai.types.chat import ChatCompletionMessage
from openai.types.chat.chat_completion_chunk import ChoiceDelta

DEADLINE_S = 300
RLVR = [sys.executable, "-m", "rlvr"]


def address(owner: subprocess.Popen[str], log: Path) -> str:
    """Wait for the address that it prints."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if " serves " in line:
                return line.split()[0]
        assert owner.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(log.read_text())


def servers(owner: subprocess.Popen[str]) -> list[psutil.Process]:
    """vLLM's, of both replicas."""
    family = psutil.Process(owner.pid).children(recursive=True)
    return [one for one in family if "vllm.entrypoints.openai.api_server" in one.cmdline()]


def test_a_model_is_served_while_its_parts_die_and_no_process_is_left(
    tiny_model: Path, tmp_path: Path
) -> None:
    log = tmp_path / "serve.log"
    arguments = [
        "serve", str(tiny_model), 'prompt.template="User: {prompt}\\nAssistant:"', "serve.port=0",
        "serve.max_model_tokens=128", "serve.kv_cache_gib=0.25", "serve.replicas=2",
        "serve.check_every_s=1", f"output_dir={tmp_path}",
    ]  # fmt: skip
    command = [*RLVR, *arguments]
    with (
        log.open("w") as out,
        subprocess.Popen(command, stdout=out, stderr=out, text=True) as owner,
    ):
        try:
            url = address(owner, log)
            a_reply_is_read_by_the_client_of_openai(url)
            a_chat_reads_a_pipe(url)
            logs = tmp_path / "serve-tiny_model0" / "logs" / "model"
            replicas_take_turns_and_a_dead_one_is_replaced(url, logs, owner)
            family = psutil.Process(owner.pid).children(recursive=True)
            assert len(servers(owner)) == 2
        finally:
            owner.kill()
    _, left = psutil.wait_procs(family, timeout=30)
    assert not left


def spoken(part: ChatCompletionMessage | ChoiceDelta) -> str:
    """Its thought and its answer, either of which may be missing."""
    return (getattr(part, "reasoning", None) or "") + (part.content or "")


def a_reply_is_read_by_the_client_of_openai(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        question = [{"role": "user", "content": "2+3?"}]
        replies = [
            client.chat.completions.create(
                model="model", messages=question, max_tokens=8, temperature=0
            )
            for _ in range(2)
        ]
        assert replies[0] == replies[1]
        assert replies[0].usage is not None
        assert replies[0].usage.completion_tokens == 8
        stream = client.chat.completions.create(
            model="model", messages=question, max_tokens=8, temperature=0, stream=True
        )
        assert "".join(spoken(chunk.choices[0].delta) for chunk in stream) == spoken(
            replies[0].choices[0].message
        )
        counted = 'rlvr_requests_total{arm="model",status="200"} 3'
        eventually(lambda: counted in client.get("../metrics", cast_to=str))
        assert 'rlvr_cache_hits_total{arm="model"} 1' in client.get("../metrics", cast_to=str)


def a_chat_reads_a_pipe(url: str) -> None:
    command = [*RLVR, "chat", url, "max_tokens=8", "temperature=0"]
    done = subprocess.run(
        command, input="2+3?\nand 1?\n/exit\n", capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n")


def replicas_take_turns_and_a_dead_one_is_replaced(
    url: str, logs: Path, owner: subprocess.Popen[str]
) -> None:
    def num_written() -> list[int]:
        return [log.read_text().count("POST /v1/completions") for log in sorted(logs.glob("*.log"))]

    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:

        def num_up() -> int:
            health: dict[str, int] = json.loads(client.get("../health", cast_to=str))
            return health["model"]

        def ask() -> None:
            client.completions.create(model="model", prompt="2+3", max_tokens=2)

        for _ in range(6):
            ask()
        assert num_written() == [3, 3]
        first, _ = servers(owner)
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask) for _ in range(60)]
            asked[10].result()
            first.kill()
            for one in asked:
                one.result()  # each request has its reply
        eventually(lambda: num_up() == 1)
        ask()
        eventually(lambda: num_up() == 2)
        assert first.pid not in {server.pid for server in servers(owner)}
        ask()


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.5)
