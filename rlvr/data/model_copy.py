"""The model that a run reads, held where it stays for as long as the run needs it.

    model.path           is read from
    model, hub name      where it is
    checkpoint           RUN/base: hard links, since the checkpoint's own run may delete it
    adapter              RUN/base: merged with the model below it

RUN/base/origin.json names the path as given and the folder that the copy was made from. A run that
resumes reads its copy again, also if the path means another checkpoint by then.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from rlvr.data.model_files import below_adapter, check_model, is_adapter
from rlvr.data.peft_merge import merge_in_child
from rlvr.errors import ConfigError, RLVRError
from rlvr.run.checkpoints import checkpoint_of
from rlvr.run.run_folder import read_json, write_json

__all__ = [
    "MODEL_COPY",
    "TRAINER_FILES",
    "copy_model",
    "find_model",
    "hold_model",
    "origin_of",
    "remove_copy",
]

MODEL_COPY = "base"  # folder of the copy in a run folder
ORIGIN = "origin.json"
NUM_TRIES = 3  # for a path whose checkpoint is deleted while it is copied
TRAINER_FILES = (  # of a checkpoint of `rlvr sft`, besides its model
    "*.pt", "*.pth", "training_args.bin", "trainer_state.json", "global_step*", "zero_to_fp32.py",
    "latest", "whole",
)  # fmt: skip


def find_model(path: str, *, copy: Path, key: str = "model.path") -> str:
    """Return the folder or hub name that a run will read: its copy of `path`, or the original.

    Raises ConfigError: `path` names no model or adapter, or one that is not complete.
    """
    if (copy / ORIGIN).exists() and read_json(copy / ORIGIN)["path"] == path:
        return str(copy)
    return check_model(path, key=key, allow_adapter=True)


def origin_of(model: str) -> str:
    """Return the folder that a copy was made from; any other model is its own origin."""
    file = Path(model) / ORIGIN
    return str(read_json(file)["folder"]) if file.exists() else model


def hold_model(
    path: str,
    *,
    copy: Path,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    key: str = "model.path",
    say: Callable[[str], None] = print,
) -> str:
    """Return the folder, or hub name, of a whole model that stays; copy it if needed.

    `dtype` is that of a merged model. Raises ConfigError as `find_model`; RLVRError: the disk is
    full, or the merge failed.
    """
    for _ in range(NUM_TRIES):
        model = find_model(path, copy=copy, key=key)
        if model == str(copy) or not (is_adapter(model) or checkpoint_of(Path(model))):
            return model
        try:
            with _replacing(copy) as temporary:
                if is_adapter(model):
                    base = below_adapter(model, key=key)
                    say(f"{key}: merging the adapter {model} with {base}")
                    merge_in_child(
                        model, base, temporary, dtype=dtype, trust_remote_code=trust_remote_code
                    )
                else:
                    say(f"{key}: {path} is {model}")
                    _link_files(Path(model), temporary)
                write_json(temporary / ORIGIN, {"path": path, "folder": model})
        except FileNotFoundError:
            continue
        return str(copy)
    raise ConfigError(f"{key}: {path}: its run deletes the checkpoint while it is read")


def remove_copy(copy: Path) -> None:
    """Delete the copy of a run that will not read it again."""
    if (copy / ORIGIN).exists():
        shutil.rmtree(copy, ignore_errors=True)


def copy_model(source: Path, target: Path) -> None:
    """Copy a model's folder, with hard links to its weights where the file system allows it.

    `target` is replaced at once. Raises FileNotFoundError: `source` was deleted meanwhile;
    RLVRError: the disk is full or not writable.
    """
    with _replacing(target) as temporary:
        _link_files(source, temporary)


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of `target` if the block succeeds."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RLVRError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _link_files(source: Path, target: Path) -> None:
    for file in [path for path in source.rglob("*") if path.is_file()]:
        name = file.relative_to(source)
        if any(fnmatch(name.parts[0], pattern) for pattern in TRAINER_FILES):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(file, target / name)
    if not source.is_dir():
        raise FileNotFoundError(f"{source} was deleted")


def _link_or_copy(source: Path, target: Path) -> None:
    if source.suffix in (".safetensors", ".bin"):
        with suppress(OSError):  # another disk, or a file system without hard links
            os.link(source, target)
            return
    shutil.copyfile(source, target)
