"""Whole runs of `rlvr export`: merged, as an adapter, and on a hub that listens on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from sft_runs import config_of, sums, trained, write_rows

from rlvr.data.model_copy import hold_model, origin_of
from rlvr.run.run_folder import RunFolder, read_json
from rlvr.stages.export.export_config import ExportConfig
from rlvr.stages.export.export_stage import check_export, run_export
from rlvr.stages.export.merge_adapters import probe_logits

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "rlvr"]
TOKEN = "hf_not_a_real_token_0123456789"


@pytest.fixture(scope="module")
def adapter_run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("adapter")
    data = write_rows(folder / "rows.jsonl", sums(40))
    values: dict[str, Any] = {"lora": {}, "lr": 1e-2, "max_steps": 20, "name": "tuned"}
    return trained(config_of(tiny_model, data, folder, **values))


def exported(run: RunFolder, tmp_path: Path, **values: Any) -> RunFolder:
    config = ExportConfig.model_validate(
        {"name": "out", "output_dir": str(tmp_path), "run": str(run.path), **values}
    )
    folder = RunFolder(config.run_dir)
    with folder.locked():
        folder.write_config(config)
        run_export(config, folder, check_export(config))
    return folder


def adapter_logits(run: RunFolder, tiny_model: Path) -> torch.Tensor:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    return probe_logits(PeftModel.from_pretrained(base, str(run.path / "adapter")))


def test_a_run_that_starts_from_an_adapter_gets_the_merged_model(
    adapter_run: RunFolder, tiny_model: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lines: list[str] = []
    copy = tmp_path / "run" / "base"
    path = hold_model(str(adapter_run.path), copy=copy, say=lines.append)
    adapter = f"{adapter_run.path}/adapter"
    assert lines == [f"model.path: merging the adapter {adapter} with {tiny_model}"]
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
    assert (probe_logits(model) - adapter_logits(adapter_run, tiny_model)).abs().max() < 1e-5
    assert AutoTokenizer.from_pretrained(path).eos_token is not None
    assert origin_of(path) == adapter


@pytest.mark.parametrize(
    ("dtype", "limit"), [("float32", 1e-6), ("float16", 1e-3), ("bfloat16", 1e-2)]
)
def test_a_merged_model_loads_without_peft_and_has_the_same_logits(
    adapter_run: RunFolder, tiny_model: Path, tmp_path: Path, dtype: str, limit: float
) -> None:
    from transformers import AutoModelForCausalLM

    folder = exported(adapter_run, tmp_path, dtype=dtype, license="apache-2.0")
    model = AutoModelForCausalLM.from_pretrained(folder.model, dtype="auto")
    assert model.dtype == getattr(torch, dtype)
    wanted = adapter_logits(adapter_run, tiny_model)
    base = probe_logits(AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32))
    assert (wanted - base).norm() / base.norm() > 0.05  # the adapter does something
    assert (probe_logits(model.float()) - wanted).norm() / wanted.norm() < limit
    if dtype == "float32":
        assert (probe_logits(model) - wanted).abs().max() < 1e-5
    card = (folder.model / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["base_model"] == str(tiny_model)
    assert front["license"] == "apache-2.0"
    for part in ("## Data", "rows.jsonl", "## Evaluation", "train_loss", "## Lineage", "## Recipe"):
        assert part in card


def test_a_saved_and_loaded_adapter_has_the_same_logits(
    adapter_run: RunFolder, tiny_model: Path, tmp_path: Path
) -> None:
    folder = exported(adapter_run, tmp_path, form="adapter")
    again = adapter_logits(folder, tiny_model)
    assert torch.equal(again, adapter_logits(adapter_run, tiny_model))
    assert (folder.path / "adapter" / "tokenizer.json").exists()
    assert read_json(folder.summary)["max_logit_diff"] == 0.0


class Hub(BaseHTTPRequestHandler):
    """The few answers that an upload of small files needs."""

    calls: list[tuple[str, str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).calls.append((self.path, self.headers.get("Authorization", ""), body))
        self._answer(self._reply(body))

    def do_GET(self) -> None:
        type(self).calls.append((self.path, self.headers.get("Authorization", ""), b""))
        self._answer({"id": "ada/toy", "sha": "0" * 40, "siblings": []})

    def _reply(self, body: bytes) -> dict[str, Any]:
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            return {"files": [{"path": file["path"], **modes} for file in files]}
        if "/commit/" in self.path:
            where = f"http://{self.headers['Host']}/ada/toy"
            return {"commitUrl": f"{where}/commit/{'0' * 40}", "commitOid": "0" * 40}
        return {"url": f"http://{self.headers['Host']}/ada/toy", "name": "ada/toy"}

    def _answer(self, data: dict[str, Any]) -> None:
        text = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def a_hub() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    handler = type("Handler", (Hub,), {"calls": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.calls  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def export_command(
    run: RunFolder, tmp_path: Path, *overrides: str, **env: str
) -> subprocess.CompletedProcess[str]:
    recipe = tmp_path / "export.yaml"
    values = {"stage": "export", "name": "out", "output_dir": str(tmp_path), "run": str(run.path)}
    recipe.write_text(yaml.safe_dump(values), encoding="utf-8")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    clean |= {"PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "hf"), **env}
    command = [*COMMAND, "export", str(recipe), *overrides]
    return subprocess.run(
        command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=200, check=False
    )


def test_a_push_sends_every_file_and_does_not_reveal_the_token(
    adapter_run: RunFolder, tmp_path: Path
) -> None:
    with a_hub() as (address, calls):
        done = export_command(
            adapter_run, tmp_path, "push.repo=ada/toy", HF_ENDPOINT=address, HF_TOKEN=TOKEN
        )
    assert done.returncode == 0, done.stderr
    assert "pushed to ada/toy" in done.stdout
    paths = [path for path, _, _ in calls]
    assert any(path.startswith("/api/repos/create") for path in paths)
    (commit,) = [body for path, _, body in calls if "/commit/" in path]
    sent = {
        entry["value"]["path"]
        for entry in map(json.loads, commit.splitlines())
        if entry["key"] == "file"
    }
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= sent
    assert all(TOKEN in header for path, header, _ in calls if "/commit/" in path)
    assert TOKEN not in done.stdout + done.stderr
    kept = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in kept)


def test_without_a_token_a_push_is_a_list_or_a_refusal(
    adapter_run: RunFolder, tmp_path: Path
) -> None:
    refused = export_command(adapter_run, tmp_path, "push.repo=ada/toy", "push.dry_run=false")
    assert refused.returncode == 2
    assert refused.stderr.strip().splitlines()[-1].startswith("rlvr: push: no token for ada/toy")
    dry = export_command(adapter_run, tmp_path, "push.repo=ada/toy")
    assert dry.returncode == 0, dry.stderr
    assert "would go to ada/toy" in dry.stdout
    assert "model.safetensors" in dry.stdout
    assert read_json(tmp_path / "out" / "summary.json")["push"]["pushed"] is False
