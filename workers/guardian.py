"""`python -I -S guardian.py LIMITS COMMAND…`: stands between a worker and its child.

It is a program of its own, with nothing but the standard library, because what it does can not be done safely
between fork and exec of a worker that has threads: any lock of the process may be held there (the `preexec_fn`
of `subprocess` warns of it). A guardian has one thread.

- It sets the child's limits after its own fork and before exec, so no line of a toolchain ever runs without them.
- It adopts what its child leaves behind (PR_SET_CHILD_SUBREAPER), so a daemon in a session of its own, with its
  environment emptied, is still found among its descendants.
- Standard input is a pipe whose other end the worker holds and never writes to. However the worker ends, the
  kernel closes it, and the guardian ends every descendant. Unlike PR_SET_PDEATHSIG this hangs on the worker's
  process and not on the thread that started the child, and it reaches grandchildren too.
- The child has PR_SET_PDEATHSIG towards the guardian, for the case that somebody kills the guardian itself.
- It ends as its child ended: with the same status or by the same signal.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: How often the dead are looked for; a death wakes the guardian at once, this is for a lost signal.
_POLL_MS = 1000
_RETRY_S = 0.005
#: Status of a child whose program could not be started, as a shell has it.
NOT_STARTED = 127
#: What the guardian may be told to limit, beside core dumps, which are always off.
LIMITS = {
    "cpu_s": resource.RLIMIT_CPU,
    "file_bytes": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
}


def set_limits(limits: dict[str, int]) -> None:
    """Sets this process's limits, soft and hard, so that nothing below can raise them; none rises above its own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, value in limits.items():
        kind = LIMITS[name]
        hard = resource.getrlimit(kind)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # The first CPU second too many is a SIGXCPU, which says why; some later one is a SIGKILL.
        grace = 5 if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
        resource.setrlimit(kind, (wanted, wanted + grace))


def descendants(pid: int, *, is_listed: bool | None = None) -> list[int]:
    """Every process below one, near ones first.

    Args:
        pid: of the one.
        is_listed: whether the kernel lists the children of a process (CONFIG_PROC_CHILDREN), which spares a
            look at every process of the host; found out if none.
    """
    if is_listed is None:
        is_listed = os.path.exists("/proc/thread-self/children")  # noqa: PTH110 - as below
    table = {} if is_listed else _children_of_all()
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop(0)
        below = _children(parent) if is_listed else table.get(parent, [])
        found += below
        waiting += below
    return found


def _children_of_all() -> dict[int, list[int]]:
    table: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - no pathlib here: it takes longer to load
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
                # The name of the program, in brackets, may hold anything.
                parent = int(stream.read().rpartition(")")[2].split()[1])
            table.setdefault(parent, []).append(int(name))
        except (OSError, ValueError, IndexError):
            # It ended in between.
            continue
    return table


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - no pathlib here: it takes longer to load
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as stream:  # noqa: PTH123 - fast
                found += map(int, stream.read().split())
        except OSError:
            # It ended in between.
            continue
    return found


def end_descendants() -> None:
    """Kills everything below this process, and what that starts meanwhile, until nothing is left."""
    while True:
        below = descendants(os.getpid())
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                # It has ended by itself.
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_RETRY_S)


def _start(libc: ctypes.CDLL, limits: dict[str, int], command: list[str]) -> int:
    guardian = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guardian:
            os._exit(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # Python ignores it; a program that was not written in Python must hear of its limit.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        set_limits(limits)
        os.execv(command[0], command)  # noqa: S606 - there is no shell, on purpose
    except OSError as error:
        os.write(2, f"{command[0]} can not be started: {error.strerror}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _wait(child: int, wakeup: int) -> int | None:
    """The child's wait status; none if the worker is gone, or wants its child to be."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    while True:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == child:
                return status
            if pid == 0:
                break
        for descriptor, _ in poll.poll(_POLL_MS):
            if descriptor == 0:
                return None
            if signal.SIGTERM in os.read(wakeup, 4096):
                return None


def main(arguments: list[str]) -> None:
    """Runs the child to its end, and ends as it did."""
    limits, command = json.loads(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    child = _start(libc, limits, command)
    status = _wait(child, wakeup)
    end_descendants()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if status is None:
        os._exit(1)
    if os.WIFSIGNALED(status):
        killer = os.WTERMSIG(status)
        if killer != signal.SIGKILL:
            signal.signal(killer, signal.SIG_DFL)
        os.kill(os.getpid(), killer)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    main(sys.argv[1:])
