"""vLLM API server processes that never outlive the process that started them.

with served(model_path) as base_url: ...          a server on loopback for the duration of a block
ServerProcess(...).start() / .stop()              one server, as a replica of `rlvr serve` runs it
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rlvr.cluster import process_reaper
from rlvr.cluster.processes import free_port
from rlvr.data.model_files import absolute_path, check_model
from rlvr.data.prompts import make_template
from rlvr.errors import RLVRError
from rlvr.serving.server_spec import ServerSpec, server_command, server_env

__all__ = ["KEY_ENV", "ServerProcess", "served", "wait_healthy"]

KEY_ENV = "VLLM_API_KEY"  # the server requires this key if it is set
DEADLINE_S = 600.0
POLL_S = 0.5
STOP_S = 15.0  # vLLM stops its engine within a few seconds
TAIL_BYTES = 4000
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback


class ServerProcess:
    """A command in its own session, with a watcher that kills it when this process dies."""

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], url: str, log: Path
    ) -> None:
        self.url = url  # without /v1
        self.log = log
        self._command = list(command)
        self._env = dict(env)
        self._server: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process is alive, though it may not answer yet."""
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start the process and return at once; its output is appended to the log."""
        mark = uuid.uuid4().hex
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(process_reaper.__file__), mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                self._command,
                env={**self._env, process_reaper.MARK: process_reaper.with_mark(mark)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the process has ended; return at once if it was never started."""
        if self._server is not None:
            self._server.wait()

    def stop(self) -> None:
        """Send SIGTERM to the whole session, then SIGKILL after STOP_S."""
        if self._server is not None:
            _signal_group(self._server.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(STOP_S)
            _signal_group(self._server.pid, signal.SIGKILL)
            self._server.wait()
            self._server = None
        if self._watcher is not None:
            self._watcher.communicate()  # it kills processes that left the session
            self._watcher = None

    def last_error(self) -> str:
        """Return the last line of the log with an error, else the last line."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if "Error" in line]
        return (errors or [line for line in lines if line.strip()] or ["no output"])[-1].strip()


@contextlib.contextmanager
def served(
    model_path: str | Path,
    *,
    template: str = "chat",
    system: str | None = None,
    prefill: str = "",
    dtype: str = "float32",
    max_model_tokens: int | None = None,
    log: Path | None = None,
) -> Iterator[str]:
    """Serve a model as `model` on a free port of 127.0.0.1; yield the base URL, ending in /v1.

    `template`, `system` and `prefill` are those of a recipe's `prompt`; a model without a chat
    template needs a text template. Replies have reasoning under `reasoning` and the answer under
    `content`. `log` defaults to logs/server.log beside the model. No API key is required.

    Raises:
        ConfigError: the model does not exist, or cannot have this template.
        RLVRError: the server died or missed the deadline; the message names the log.
    """
    model = Path(absolute_path(check_model(str(model_path))))
    spec = ServerSpec(
        model_path=str(model),
        template=make_template(template, system=system, prefill=prefill),
        dtype=dtype,
        max_model_tokens=max_model_tokens,
        threads=len(os.sched_getaffinity(0)),
        gpus=() if shutil.which("nvidia-smi") is None else ("0",),
    )
    port = free_port()
    if log is None and model.is_dir():
        log = model.parent / "logs" / "server.log"
    elif log is None:
        log = Path(tempfile.gettempdir()) / f"rlvr-served-{port}" / "server.log"
    command = server_command(spec, port=port, folder=log.parent)
    env = {name: value for name, value in server_env(spec).items() if name != KEY_ENV}
    server = ServerProcess(command, env=env, url=f"http://127.0.0.1:{port}", log=log)
    try:
        server.start()
        wait_healthy(server, deadline_s=DEADLINE_S)
        yield f"{server.url}/v1"
    finally:
        server.stop()


def wait_healthy(server: ServerProcess, *, deadline_s: float) -> None:
    """Return when the server answers. Raises RLVRError if it dies or the deadline passes."""
    end = time.monotonic() + deadline_s
    while not (server.is_running and _is_healthy(server.url)):
        if not server.is_running:
            raise RLVRError(f"the server ended: {server.last_error()} (full log: {server.log})")
        if time.monotonic() > end:
            raise RLVRError(f"the server did not answer within {deadline_s:g} s; see {server.log}")
        time.sleep(POLL_S)


def _is_healthy(url: str) -> bool:
    try:
        with _DIRECT.open(f"{url}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
