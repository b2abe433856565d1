"""Copies of the metrics for TensorBoard and Weights & Biases.

    check_trackers    before a run: are they installed, is there an account
    Trackers          starts them, which is an error if it fails; one that fails later is dropped

A W&B run has an id of its own in RUN/wandb_id, so that a resumed run continues it.
"""

from __future__ import annotations

import importlib.util
import logging
import netrc
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from rlvr.config.training_sections import TrackersSection
from rlvr.errors import ConfigError, one_line
from rlvr.run.run_folder import write_text

__all__ = ["Trackers", "check_trackers"]

logger = logging.getLogger(__name__)

NAMES = ("tensorboard", "wandb")
OFFLINE = ("disabled", "dryrun", "offline")  # values of WANDB_MODE that need no account
WANDB_URL = "https://api.wandb.ai"
MAX_ROWS = 256  # of a table of completions
COLUMNS = ("step", "task_id", "prompt", "completion", "reward", "advantage", "finish_reason")


class Tracker(Protocol):
    """A destination of metrics."""

    def write(self, numbers: Mapping[str, float], step: int) -> None: ...

    def completions(self, rows: Sequence[Mapping[str, Any]], step: int, key: str) -> None: ...


def check_trackers(section: TrackersSection) -> None:
    """Raise ConfigError, with the remedy, for a tracker that is not installed or has no account."""
    for name in NAMES:
        if not getattr(section, name):
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # None: a folder of that name
            raise ConfigError(
                f"trackers.{name}: {name} is not installed; `pip install {name}`, or set "
                f"trackers.{name}=false"
            )
    if section.wandb and os.environ.get("WANDB_MODE") not in OFFLINE and not _has_account():
        raise ConfigError(
            "trackers.wandb: this machine has no account of Weights & Biases; run `wandb login`, "
            "set WANDB_API_KEY, or set WANDB_MODE=offline to write to the run folder only"
        )


def _has_account() -> bool:
    """Whether a key is set or stored, as `wandb login` does; for the server of WANDB_BASE_URL."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", WANDB_URL)).hostname
    files = [Path(os.environ.get("NETRC", "~/.netrc")), Path("~/_netrc")]
    for file in (file.expanduser() for file in files):
        try:
            if file.exists() and netrc.netrc(file).authenticators(str(host)):
                return True
        except (OSError, netrc.NetrcParseError):
            return True  # wandb itself will tell
    return False


class Trackers:
    """The trackers that the recipe enables and that have not failed."""

    def __init__(
        self,
        section: TrackersSection,
        *,
        folder: Path,
        name: str,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Start them; `config` is the resolved recipe. Raises ConfigError: one cannot start."""
        self._every_steps = section.completions_every_steps
        self._trackers: dict[str, Tracker] = {}
        starts: dict[str, Callable[[], Tracker]] = {
            "tensorboard": lambda: _TensorBoard(folder),
            "wandb": lambda: _Wandb(folder, name, config or {}),
        }
        for tracker, start in starts.items():
            if getattr(section, tracker):
                try:
                    self._trackers[tracker] = start()
                except Exception as error:  # third-party code and network
                    raise ConfigError(
                        f"trackers.{tracker}: cannot start: {type(error).__name__}: "
                        f"{one_line(error)}; or set trackers.{tracker}=false"
                    ) from error

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Send the numbers of a line of metrics.jsonl."""
        numbers = {
            k: float(v) for k, v in metrics.items() if isinstance(v, int | float) and k != "step"
        }
        self._each(lambda tracker: tracker.write(numbers, metrics["step"]))

    def completions(
        self, rows: Sequence[Mapping[str, Any]], *, step: int, is_evaluation: bool = False
    ) -> None:
        """Send the completions of an evaluation, or of a step where they are due, as a table."""
        key = "eval/completions" if is_evaluation else "completions"
        if is_evaluation or step == 1 or step % self._every_steps == 0:
            self._each(lambda tracker: tracker.completions(rows[:MAX_ROWS], step, key))

    def _each(self, send: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            with self._guarded(name):
                send(tracker)

    @contextmanager
    def _guarded(self, tracker: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # third-party code and network: must not stop a run
            self._trackers.pop(tracker, None)
            logger.warning("tracker %s is off: %s: %s", tracker, type(error).__name__, error)


class _TensorBoard:
    """Event files with the numbers."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder / "tensorboard")

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def completions(self, rows: Sequence[Mapping[str, Any]], step: int, key: str) -> None:
        pass


class _Wandb:
    """A run with metrics over `step`, config, and completions as tables.

    W&B's own step only grows, and drops what a resumed run repeats; `step` is a metric like others.
    """

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "rlvr"),
            dir=folder,
            name=name,
            id=_run_id(folder / "wandb_id"),
            resume="allow",
            settings=wandb.Settings(login_timeout=30, console="off"),
        )
        self._run.config.update(dict(config), allow_val_change=True)
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        self._run.log({**numbers, "step": step})

    def completions(self, rows: Sequence[Mapping[str, Any]], step: int, key: str) -> None:
        values = dict.fromkeys(name for row in rows for name in row if name.endswith("/value"))
        columns = [*COLUMNS, *values]
        data = [[row.get(column) for column in columns] for row in rows]
        self._run.log({key: self._wandb.Table(columns=columns, data=data), "step": step})


def _run_id(file: Path) -> str:
    """Return the id in the file, which is made if there is none."""
    if not file.exists():
        write_text(file, secrets.token_hex(4))
    return file.read_text(encoding="utf-8").strip()
