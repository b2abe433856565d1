"""Upload to the Hugging Face hub, or a dry run. The token is never written to a file or printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, RLVRError, one_line
from rlvr.stages.export.export_config import PushSection

__all__ = ["check_push", "push_folder"]


def check_push(section: PushSection) -> None:
    """Raise ConfigError where an upload is required and no token exists."""
    if section.dry_run is False and not _has_token():
        raise ConfigError(
            f"push: no token for {section.repo}; set HF_TOKEN or log in with `hf auth login`, or "
            "set push.dry_run=true for a dry run"
        )


def push_folder(folder: Path, section: PushSection) -> dict[str, Any]:
    """Upload a folder; return its files and whether they were pushed.

    Raises:
        RLVRError: the hub refuses or cannot be reached.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = [{"path": str(p.relative_to(folder)), "bytes": p.stat().st_size} for p in files]
    is_dry = not _has_token() if section.dry_run is None else section.dry_run
    if is_dry:
        total = sum(path.stat().st_size for path in files)
        print(f"dry run: {len(files)} files, {total} bytes would go to {section.repo}:")
        for entry in listed:
            print(f"  {entry['path']}  {entry['bytes']}")
    else:
        _upload(folder, section)
    return {"repo": section.repo, "pushed": not is_dry, "files": listed}


def _upload(folder: Path, section: PushSection) -> None:
    import httpx2
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(section.repo, private=section.private, exist_ok=True)
        api.upload_folder(repo_id=section.repo, folder_path=folder, commit_message="rlvr export")
    except (httpx2.HTTPError, OSError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise RLVRError(f"push: {section.repo}: {reason}; the same command retries") from None
    print(f"pushed to {section.repo}")


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())
