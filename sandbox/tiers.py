"""Choose the isolation tier of this machine by running real programs in it.

SANDBOX_TIER, or namespaces, then landlock --> probe: an honest program is accepted and canary
attacks fail --> Tier, with the reason why each better one was refused
"""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sandbox.jobs import Backend, Local, Program
from sandbox.remote import Remote
from sandbox.verdicts import Limits, SandboxUnavailable, Verdict
from sandbox.workers import SandboxPool

__all__ = ["REMEDIES", "TIERS", "Tier", "forget", "probe", "require", "the_tier"]

logger = logging.getLogger(__name__)

TIERS: Final = ("unsafe", "remote", "landlock", "namespaces")  # from the weakest to the strongest
REMEDIES: Final = {  # of the tiers that are tried, in order
    "namespaces": "allow unprivileged user namespaces (sysctl user.max_user_namespaces=15000, on "
    "Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0) and an unmasked /proc",
    "landlock": "use a kernel of 5.13 or later with landlock in CONFIG_LSM, and a container "
    "profile that lets landlock_* and seccomp through (Docker's default does)",
}
_CANARIES: Final = """
import ctypes, json, os, socket, sys
settings = json.loads(sys.stdin.read())
reached = []
def attempt(name, action):
    try:
        if action() is not False:
            reached.append(name)
    except (OSError, ValueError):
        pass
attempt("read a file outside", lambda: open(settings["file"]).read())
attempt("write a file outside", lambda: open(settings["file"] + ".new", "w").close())
attempt("see the environment of its supervisor",
        lambda: open("/proc/%d/environ" % settings["pid"], "rb").read())
attempt("connect to this machine",
        lambda: socket.create_connection(("127.0.0.1", settings["port"]), 1))
attempt("signal its worker", lambda: os.kill(os.getppid(), 0) if os.getppid() > 1 else False)
attempt("make a socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("become root", lambda: os.setuid(0))
attempt("keep a descriptor", lambda: any(map(os.path.exists, range(4, 90))))
print(json.dumps(reached))
"""
_DEADLY: Final = "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0); print('traced')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """The isolation in use, and why better ones were refused."""

    name: str
    backend: Backend = field(repr=False)
    details: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # tier -> reason

    def close(self) -> None:
        """End its workers."""
        if isinstance(self.backend, Local):
            self.backend.pool.close()


_lock = threading.Lock()
_chosen: Tier | None = None


def the_tier() -> Tier:
    """Return the process's tier; the first call probes (about 0.2 s).

    Raises:
        SandboxUnavailable: no tier works here; the text gives reasons and remedies.
    """
    global _chosen
    with _lock:
        if _chosen is None:
            _chosen = _choose(os.environ.get("SANDBOX_TIER"))
        return _chosen


def require(minimum: str) -> Tier:
    """Return the process's tier if it is at least as strong as `minimum` (see TIERS).

    Raises:
        SandboxUnavailable: it is weaker, or no tier works here.
        ValueError: `minimum` is not a tier.
    """
    if minimum not in TIERS:
        raise ValueError(f"the lowest tier is {minimum!r}; allowed: {', '.join(TIERS)}")
    tier = the_tier()
    if TIERS.index(tier.name) < TIERS.index(minimum):
        why = "; ".join(f"{name}: {reason}" for name, reason in tier.refused.items())
        raise SandboxUnavailable(f"the sandbox's tier is {tier.name}, below {minimum}. {why}")
    return tier


def forget(*, close: bool) -> None:
    """Reset the tier; end its workers, or leave them to the parent of a forked process."""
    global _chosen, _lock
    if not close:
        _lock = threading.Lock()  # the parent's may be held by a thread that the fork lacks
    with _lock:
        tier, _chosen = _chosen, None
    if tier is not None and close:
        tier.close()
    elif tier is not None and isinstance(tier.backend, Local):
        tier.backend.pool.forget()


os.register_at_fork(after_in_child=lambda: forget(close=False))


def probe(name: str) -> Tier:
    """Start a tier and test it; raises SandboxUnavailable with the reason if it fails."""
    pool = SandboxPool(name)
    backend = Local(pool)
    try:
        with pool.borrow() as [worker]:
            details = worker.description
        if name != "unsafe":
            _run_canaries(backend)
    except BaseException:
        pool.close()
        raise
    return Tier(name=name, backend=backend, details=details)


def _choose(forced: str | None) -> Tier:
    if forced is not None:
        return _open_forced(forced)
    refused: dict[str, str] = {}
    for name in REMEDIES:
        try:
            return replace(probe(name), refused=refused)
        except SandboxUnavailable as error:
            refused[name] = str(error)
    text = "\n".join(
        f"  {tier}: {why}\n    remedy: {REMEDIES[tier]}" for tier, why in refused.items()
    )
    raise SandboxUnavailable(
        f"no isolation on this machine is good enough to run untrusted programs:\n{text}\n"
        "  or set SANDBOX_TIER=remote and SANDBOX_URL to a server with /run_code"
    )


def _open_forced(name: str) -> Tier:
    if name not in TIERS:
        raise SandboxUnavailable(f"SANDBOX_TIER is {name!r}; allowed: {', '.join(TIERS)}")
    if name == "remote":
        if not os.environ.get("SANDBOX_URL"):
            raise SandboxUnavailable("SANDBOX_TIER is remote; set SANDBOX_URL to the server")
        url = os.environ["SANDBOX_URL"]
        return Tier(name=name, backend=Remote(url), details={"url": url})
    if name == "unsafe":
        logger.warning("SANDBOX_TIER=unsafe: programs run with limits but WITHOUT isolation")
        return probe(name)
    try:
        return probe(name)
    except SandboxUnavailable as error:
        raise SandboxUnavailable(f"{name}: {error}; remedy: {REMEDIES[name]}") from error


def _run_canaries(backend: Local) -> None:
    """Check that an honest program runs and that the tier stops attacks."""
    limits = Limits(wall_s=20, cpu_s=5)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        os.chmod(folder, 0o777)  # any user may access the targets
        file = Path(folder, "secret")
        file.write_text("secret")
        file.chmod(0o666)
        targets = {"file": str(file), "pid": os.getpid(), "port": server.getsockname()[1]}
        program = Program(payload={"mode": "script", "code": _CANARIES})
        result = backend.execute(program, stdin=json.dumps(targets).encode(), limits=limits)
    if result.verdict is not Verdict.ACCEPTED:
        text = result.stderr.decode(errors="replace").strip()[-300:]
        raise SandboxUnavailable(f"an honest program does not run: {text or result.reason}")
    if reached := json.loads(result.stdout):
        raise SandboxUnavailable(f"a program inside can {', '.join(reached)}")
    deadly = backend.execute(Program(payload={"mode": "script", "code": _DEADLY}), limits=limits)
    if deadly.verdict is not Verdict.POLICY_VIOLATION:
        raise SandboxUnavailable("the system call filter allows ptrace")
