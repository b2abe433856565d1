"""vLLM's own server behind the router, as a user starts it, talks to it and kills it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import openai
import psutil
from openai.types.chat import ChatCompletionMessage
from openai.types.chat.chat_completion_chunk import ChoiceDelta

DEADLINE_S = 300
RLVR = [sys.executable, "-c", "import sys; from rlvr.cli import main; sys.exit(main())"]


def address(owner: subprocess.Popen[str], log: Path) -> str:
    """Where it listens, when it says so."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if " serves " in line:
                return line.split()[0]
        assert owner.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(log.read_text())


def test_a_model_is_served_and_nothing_is_left_when_the_server_is_killed(
    tiny_model: Path, tmp_path: Path
) -> None:
    log = tmp_path / "serve.log"
    arguments = [
        "serve", str(tiny_model), 'prompt.template="User: {prompt}\\nAssistant:"', "serve.port=0",
        "serve.max_model_tokens=128", "serve.kv_cache_gib=0.25", f"output_dir={tmp_path}",
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
            family = psutil.Process(owner.pid).children(recursive=True)
            assert len(family) >= 3  # vLLM's server, its engine, and who watches over them
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
        page = client.get("../metrics", cast_to=str)
    assert 'rlvr_requests_total{arm="model",status="200"} 3' in page
    assert 'rlvr_cache_hits_total{arm="model"} 1' in page


def a_chat_reads_a_pipe(url: str) -> None:
    command = [*RLVR, "chat", url, "max_tokens=8", "temperature=0"]
    done = subprocess.run(
        command, input="2+3?\nand 1?\n/exit\n", capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n")
