"""Begin, resume or change a run: what its folder allows under the config of this command.

    no config, or no work in the folder    begun (anew) with this config
    the same config                        resumed, or finished already
    another value of a fixed key           refused
    of a free key                          continued with it, and noted in manifest.json
    of neutral keys alone                  continued with it; nothing to do where it is finished

`rlvr.config.changes` marks the keys. The order of the writes matters: a run that is killed between
two of them is continued, and never taken for finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from rlvr.config.changes import Change, Effect
from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder, RunStatus, read_json, write_json

__all__ = ["Trained", "claim", "noted_changes", "write_manifest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The progress of a training run: step 20 of the 30 that `num_steps: 30` asks for."""

    step: int  # of the newest checkpoint, from which the run continues; 0 without one
    total: int  # steps of the whole run
    key: str  # the key that determines `total`
    start_key: str  # the key that starts another run from the weights of this one


def claim(
    folder: RunFolder,
    config: BaseModel,
    *,
    work: Sequence[str] = (),
    trained: Trained | None = None,
    is_repeatable: bool = False,
) -> RunStatus:
    """Let the folder belong to `config`; return its status, which tells whether anything is left.

    work: glob patterns of files that are worth keeping; a folder without any is begun anew.
    trained: progress of a stage that trains; None for other stages. is_repeatable: a finished
    folder is begun anew too.

    Raises ConfigError: the folder belongs to another config, or the run has no step left to which
    a change could apply; the message names the keys.
    """
    if folder.status is RunStatus.NEW:
        folder.write_config(config)
        return RunStatus.NEW
    changes = folder.changes(config)
    is_finished = folder.status is RunStatus.FINISHED
    if changes and _is_begun_anew(folder, changes, work, is_repeatable=is_repeatable):
        folder.summary.unlink(missing_ok=True)
        folder.manifest.unlink(missing_ok=True)
        folder.write_config(config)
        return RunStatus.NEW
    if fixed := [change for change in changes if change.effect is Effect.FIXED]:
        raise ConfigError(_refusal(folder, fixed, trained))
    if is_finished and all(change.effect is Effect.NEUTRAL for change in changes):
        return RunStatus.FINISHED
    if trained is not None:
        _check_steps(folder, changes, trained, is_finished=is_finished)
    if changes:
        folder.summary.unlink(missing_ok=True)
        _note_changes(folder, changes, step=trained.step if trained else None)
        folder.write_config(config)
    return RunStatus.INTERRUPTED


def write_manifest(folder: RunFolder, manifest: dict[str, Any]) -> None:
    """Write manifest.json for this start of the run; earlier changes of the config stay in it."""
    write_json(folder.manifest, {**manifest, "changes": noted_changes(folder)})


def noted_changes(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the changes of the config so far: step, key, before, after and time of each."""
    changes: list[dict[str, Any]] = _earlier(folder).get("changes", [])
    return changes


def _is_begun_anew(
    folder: RunFolder, changes: Sequence[Change], work: Sequence[str], *, is_repeatable: bool
) -> bool:
    is_other_stage = any(change.key == "stage" for change in changes)
    if is_other_stage or (folder.status is RunStatus.FINISHED and not is_repeatable):
        return False
    files = (file for pattern in work for file in folder.path.glob(pattern))
    return not any(file.stat().st_size for file in files)


def _refusal(folder: RunFolder, fixed: Sequence[Change], trained: Trained | None) -> str:
    branch = f" (with {trained.start_key}={folder.path} from its weights)" if trained else ""
    return (
        f"{folder.path}: made from another config: {'; '.join(map(str, fixed))}; choose another "
        f"name=...{branch}, or delete {folder.path} to start over"
    )


def _check_steps(
    folder: RunFolder, changes: Sequence[Change], trained: Trained, *, is_finished: bool
) -> None:
    """Raise ConfigError if more is trained than the run has now, nothing is left to train, or no
    checkpoint of a finished run is left.
    """
    if is_finished and not trained.step:
        raise ConfigError(
            f"{folder.path}: its checkpoints are gone, so it cannot be trained on; start another "
            f"run with name=... and {trained.start_key}={folder.path}"
        )
    if trained.total < trained.step:
        raise ConfigError(
            f"{trained.key}: {trained.total} steps are fewer than the {trained.step} that "
            f"{folder.path} has trained; give more, or choose another name=..."
        )
    if is_finished and trained.total == trained.step:
        raise ConfigError(
            f"{folder.path}: all {trained.total} steps are trained, and a change applies to later "
            f"ones: {'; '.join(map(str, changes))}; give a larger {trained.key}=..., or choose "
            "another name=..."
        )


def _note_changes(folder: RunFolder, changes: Sequence[Change], *, step: int | None) -> None:
    time = datetime.now(UTC).isoformat(timespec="seconds")
    new = [
        {"step": step, "key": one.key, "before": one.before, "after": one.after, "time": time}
        for one in changes
    ]
    write_json(folder.manifest, {**_earlier(folder), "changes": [*noted_changes(folder), *new]})


def _earlier(folder: RunFolder) -> dict[str, Any]:
    return read_json(folder.manifest) if folder.manifest.exists() else {}
