"""The system call filter of a job, as classic BPF for seccomp(2).

rules by name  -->  one decision per number  -->  binary search over ranges  -->  bytes

Calls that only an attack makes (ptrace, mount, bpf, ...) kill the job, which becomes the verdict
policy_violation. Other forbidden calls return an error, because libraries probe for them.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Mapping, Sequence

from sandbox.inside.syscalls import AUDIT_ARCH, NUMBERS

__all__ = ["filter_for", "with_own_pid"]

_Code = list[tuple[int, int, int, int]]  # opcode, jump if true, jump if false, constant

_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCH_AT, _ARGS_AT = 0, 4, 16
_X32_BIT = 0x40000000
_OWN_PID = 0x7E57C0DE  # placeholder for the job's pid

_YES: _Code = [(_RETURN, 0, 0, _ALLOW)]
_NO: _Code = [(_RETURN, 0, 0, _ERROR | errno.EPERM)]
_UNKNOWN: _Code = [(_RETURN, 0, 0, _ERROR | errno.ENOSYS)]  # libc falls back to an older call
_DEADLY: _Code = [(_RETURN, 0, 0, _KILL)]

_ALLOWED = """
read write close fstat lseek mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64
pwrite64 readv writev sched_yield mremap msync mincore madvise dup nanosleep getitimer setitimer
getpid sendfile exit wait4 uname flock fsync fdatasync ftruncate getcwd chdir fchdir umask
gettimeofday getrlimit getrusage sysinfo times getuid getgid geteuid getegid setpgid getppid getpgrp
setsid getpgid getsid getgroups getresuid getresgid capget rt_sigpending rt_sigtimedwait
rt_sigsuspend sigaltstack statfs fstatfs gettid readahead futex futex_waitv sched_getaffinity
set_tid_address restart_syscall fadvise64 timer_create timer_settime timer_gettime timer_getoverrun
timer_delete clock_gettime clock_getres clock_nanosleep exit_group waitid openat mkdirat newfstatat
unlinkat renameat linkat symlinkat readlinkat faccessat pselect6 ppoll set_robust_list
get_robust_list splice tee sync_file_range timerfd_create timerfd_settime timerfd_gettime eventfd2
epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 dup3 pipe2 preadv pwritev preadv2 pwritev2
setrlimit getpriority sched_getparam sched_getscheduler sched_get_priority_max
sched_get_priority_min sched_rr_get_interval sched_getattr ioprio_get getcpu renameat2 getrandom
execve execveat mlock munlock mlock2 munlockall membarrier copy_file_range statx rseq openat2
faccessat2 arch_prctl open stat lstat poll access pipe select dup2 alarm pause rename mkdir rmdir
creat link unlink symlink readlink getdents getdents64 time epoll_create epoll_wait signalfd
signalfd4 eventfd getsockname getpeername sendto recvfrom getsockopt shutdown recvmsg recvmmsg
get_mempolicy
"""

_REFUSED = """
setsockopt memfd_create inotify_init inotify_init1 inotify_add_watch inotify_rm_watch setpriority
ioprio_set mlockall vmsplice personality connect bind listen accept accept4 pidfd_open
name_to_handle_at userfaultfd perf_event_open syslog capset setuid setgid setreuid setregid
setresuid setresgid setgroups setfsuid setfsgid mknod mknodat shmget shmat shmctl shmdt semget semop
semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive
mq_notify mq_getsetattr mbind set_mempolicy migrate_pages move_pages adjtimex vhangup
"""

_DEADLY_CALLS = """
ptrace process_vm_readv process_vm_writev mount umount2 pivot_root chroot setns unshare bpf
kexec_load kexec_file_load init_module finit_module delete_module keyctl add_key request_key reboot
swapon swapoff open_by_handle_at move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr
landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp iopl ioperm pidfd_getfd
kcmp process_madvise process_mrelease settimeofday clock_settime sethostname setdomainname acct
quotactl
"""

_FILE_METADATA = """
chmod fchmod fchmodat chown fchown lchown fchownat utime utimes futimesat utimensat setxattr
lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr
lremovexattr fremovexattr
"""

_SIGNALS = ["kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"]
_FORKS = ["fork", "vfork"]

# On a shared file system: ways to use disk space unseen or faster than it can be measured; and
# truncate, which early versions of Landlock do not cover.
_NOT_WITH_SHARED_FILES = ["fallocate", "sendmsg", "sendmmsg", "truncate"]
_NEW_NAMESPACE = 0x7E020080
_THREAD, _SHARED_FILES = 0x00010000, 0x00000400
_CLOSE_ON_EXEC = 4
_AF_UNIX = 1
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS GWINSZ NREAD NBIO NCLEX CLEX
_PRCTLS = (3, 15, 16, 21, 23, 38, 41, 0x53564D41)  # GET_DUMPABLE SET_NAME GET_NAME ... SET_VMA
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)  # not SETOWN, SETSIG, NOTIFY


def filter_for(*, is_shared: bool, may_fork: bool) -> bytes:
    """Return BPF instructions of 8 bytes each.

    With `is_shared` the job shares process ids and file systems with others, so it may signal only
    itself and change no file's metadata; `with_own_pid` must then fill in the job's pid.
    """
    rules: dict[str, _Code] = dict.fromkeys(_ALLOWED.split(), _YES)
    rules |= dict.fromkeys(_REFUSED.split(), _NO)
    rules |= dict.fromkeys(_DEADLY_CALLS.split(), _DEADLY)
    rules |= dict.fromkeys(_FILE_METADATA.split(), _NO if is_shared else _YES)
    rules |= dict.fromkeys(_FORKS, _YES if may_fork else _NO)
    rules |= dict.fromkeys(_SIGNALS, _only(0, [_OWN_PID]) if is_shared else _YES)
    rules |= {"tkill": _NO if is_shared else _YES, "pidfd_send_signal": _NO if is_shared else _YES}
    rules |= {
        "clone": _clone(may_fork=may_fork),
        "mmap": _PRIVATE_OR_FILE_MAP,
        "clone3": _UNKNOWN,  # its flags are in memory, which a filter cannot read
        "fcntl": _only(1, _FCNTLS),
        "ioctl": _only(1, _IOCTLS),
        "prctl": _only(0, _PRCTLS),
        "prlimit64": _only(0, [0]),
        "sched_setaffinity": _only(0, [0]),
        "sched_setattr": _only(0, [0]),
        "sched_setparam": _only(0, [0]),
        "sched_setscheduler": _only(0, [0]),
        "socket": _NO if is_shared else _only(0, [_AF_UNIX]),
        "socketpair": _STREAM_PAIR if is_shared else _only(0, [_AF_UNIX]),
        "close_range": _only(2, [0, _CLOSE_ON_EXEC]) if is_shared else _YES,
    }
    rules |= dict.fromkeys(_NOT_WITH_SHARED_FILES, _NO if is_shared else _YES)
    if not is_shared:
        more = "connect bind listen accept accept4 mknod mknodat pidfd_open"
        rules |= dict.fromkeys(more.split(), _YES)
    return b"".join(struct.pack("=HBBI", *step) for step in _program(rules))


def with_own_pid(program: bytes, pid: int) -> bytes:
    """Return the filter for the process `pid`."""
    return program.replace(struct.pack("=I", _OWN_PID), struct.pack("=I", pid))


def _only(argument: int, values: Sequence[int]) -> _Code:
    """Allow if the lower 32 bits of an argument are among `values`; otherwise EPERM."""
    code: _Code = [(_LOAD, 0, 0, _ARGS_AT + 8 * argument)]
    for left, value in zip(range(len(values), 0, -1), values, strict=True):
        code.append((_IF_EQUAL, left, 0, value))
    return [*code, *_NO, *_YES]


def _clone(*, may_fork: bool) -> _Code:
    """Allow threads, allow processes if `may_fork`, kill for new namespaces."""
    code: _Code = [(_LOAD, 0, 0, _ARGS_AT), (_IF_ANY_BIT, 0, 1, _NEW_NAMESPACE), *_DEADLY]
    if not may_fork:
        for flag in (_THREAD, _SHARED_FILES):
            code += [(_IF_ANY_BIT, 1, 0, flag), *_NO]
    return [*code, *_YES]


# Shared memory without a file cannot be accounted for once a part of it is unmapped.
_PRIVATE_OR_FILE_MAP: _Code = [
    (_LOAD, 0, 0, _ARGS_AT + 8 * 3),
    (_IF_ANY_BIT, 0, 2, 0x20),  # MAP_ANONYMOUS
    (_IF_ANY_BIT, 0, 1, 0x01),  # MAP_SHARED, MAP_SHARED_VALIDATE
    *_NO,
    *_YES,
]
# Datagram sockets, also those of a pair, can send to any path; Landlock does not check them.
_STREAM_PAIR: _Code = [
    (_LOAD, 0, 0, _ARGS_AT),
    (_IF_EQUAL, 1, 0, _AF_UNIX),
    *_NO,
    (_LOAD, 0, 0, _ARGS_AT + 8),
    (_AND, 0, 0, 0xF),
    (_IF_EQUAL, 1, 0, 1),  # SOCK_STREAM
    *_NO,
    *_YES,
]


def _program(rules: Mapping[str, _Code]) -> Iterable[tuple[int, int, int, int]]:
    yield (_LOAD, 0, 0, _ARCH_AT)
    yield (_IF_EQUAL, 1, 0, AUDIT_ARCH)
    yield from _DEADLY
    yield (_LOAD, 0, 0, _NUMBER_AT)
    yield (_IF_AT_LEAST, 0, 1, _X32_BIT)
    yield from _DEADLY
    by_number = {NUMBERS[name]: code for name, code in rules.items() if name in NUMBERS}
    codes = [by_number.get(number, _UNKNOWN) for number in range(max(by_number) + 2)]
    yield from _search([(n, c) for n, c in enumerate(codes) if n == 0 or c != codes[n - 1]])


def _search(ranges: Sequence[tuple[int, _Code]]) -> _Code:
    """Return the instructions that find the loaded number among (first number, decision)."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle]), _search(ranges[middle:])
    first = ranges[middle][0]
    if len(below) <= 255:
        return [(_IF_AT_LEAST, len(below), 0, first), *below, *above]
    return [(_IF_AT_LEAST, 0, 1, first), (_JUMP, 0, 0, len(below)), *below, *above]
