"""Process pool: executes several runs at once on this machine.

Each worker process executes one run after another, so that it reads data and computes scores once. Workers write
nothing: they send results, checkpoints and progress to the process that started them, and end with it.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from tqdm import tqdm

from Utils.campaign.jobs import DEATHS_AT_START, Bundle, Failed, Finished, Report, WorkerDied
from Utils.campaign.worker import RemoteWorker
from Utils.errors import UserError

_PATIENCE = 5.0
"""Seconds that a worker has to end by itself."""

_OPEN_FILES, _OPEN_FILES_PER_WORKER = 16, 4
"""Open files of this process without workers, and those that each adds: its pipes, and the lock of its run."""


@dataclass
class _Worker:
    process: Any
    connection: Connection
    bundle: Bundle = ()
    """Jobs that it is executing."""
    is_ready: bool = False


@dataclass
class ProcessPool:
    """Worker processes that execute runs."""

    count: int
    modules: Sequence[str] = ()
    """Modules that every worker will need: they are imported once, before workers start."""
    workers: list[_Worker] = field(default_factory=list)
    deaths: int = 0
    is_remote: bool = True
    is_group: bool = False

    def __post_init__(self) -> None:
        _check_open_files(self.count)
        methods = multiprocessing.get_all_start_methods()
        # A fork server imports PyTorch once; every further worker then starts in an instant.
        self.context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            self.context.set_forkserver_preload(["Utils.campaign.executors.process_pool", *self.modules])
        try:
            for number in range(self.count):
                self.workers.append(self._start(number))
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | EOFError):
                raise UserError(f"--workers={self.count} processes cannot be started: {error}") from error
            raise

    def listen(self, listener: Callable[[Report], None]) -> None:
        """Messages come with the other reports."""

    def free_slots(self) -> list[int]:
        """Numbers of the idle workers."""
        return [number for number, worker in enumerate(self.workers) if worker.is_ready and not worker.bundle]

    def submit(self, bundle: Bundle, slot: int) -> None:
        """Give a bundle to an idle worker."""
        worker = self.workers[slot]
        worker.bundle = bundle
        # If the worker has died, `wait` reports it and the jobs are requeued.
        with suppress(OSError):
            worker.connection.send_bytes(pickle.dumps(bundle))

    def wait(self, seconds: float) -> list[Report]:
        """Reports of the workers; workers that died are replaced."""
        handles: Sequence[Any] = [w.connection for w in self.workers] + [w.process.sentinel for w in self.workers]
        ready = set(wait(handles, seconds))
        reports: list[Report] = []
        for number, worker in enumerate(self.workers):
            is_alive = worker.process.sentinel not in ready
            if worker.connection in ready:
                is_alive &= self._read(worker, reports)
            if not is_alive:
                reports += self._replace_dead(worker)
                self.workers[number] = self._start(number)
        return reports

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self.workers:
            if worker.bundle:
                worker.process.kill()
            worker.connection.close()  # an idle worker takes this as the end
        for worker in self.workers:
            worker.process.join(_PATIENCE)
            worker.process.kill()
            worker.process.join()
        self.workers = []

    def _start(self, number: int) -> _Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, number))
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _read(self, worker: _Worker, reports: list[Report]) -> bool:
        """Receive everything a worker has sent; False if the worker is dead."""
        try:
            while worker.connection.poll():
                received: list[Report] = pickle.loads(worker.connection.recv_bytes())
                worker.is_ready, self.deaths = True, 0
                if any(isinstance(report, Finished | Failed) for report in received):
                    worker.bundle = ()
                reports += received
        except (EOFError, OSError, pickle.UnpicklingError):
            return False
        return True

    def _replace_dead(self, worker: _Worker) -> list[Report]:
        reports: list[Report] = []
        self._read(worker, reports)
        # The run will be executed again, so make sure that this process no longer does.
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        reason = _describe_exit(worker.process.exitcode)
        if worker.bundle:
            return reports + [WorkerDied(job.name, reason) for job in worker.bundle]
        self.deaths += not worker.is_ready
        if self.deaths >= DEATHS_AT_START:
            raise UserError(f"workers die before they do anything ({reason}); try fewer --workers, or none")
        return reports


def _check_open_files(count: int) -> None:
    """Raise the limit of open files if the workers need it; raises `UserError` if it cannot be raised."""
    if os.name != "posix":
        return
    import resource

    needed = _OPEN_FILES + _OPEN_FILES_PER_WORKER * count
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (limit, most) and most < needed:
        allowed = f"only {most} are allowed; give fewer workers, or raise the limit (ulimit -n)"
        raise UserError(f"--workers={count} needs {needed} open files, and {allowed}")
    if limit != resource.RLIM_INFINITY and limit < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"its process ended with status {exit_code}"
    name = signal.Signals(-exit_code).name if -exit_code in list(signal.Signals) else f"signal {-exit_code}"
    memory = "; out of memory?" if name == "SIGKILL" else ""
    return f"its process was killed ({name}{memory})"


def _serve(connection: Connection, number: int) -> None:
    """Execute bundles until the parent process ends. Several GPUs are divided among the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdin = open(os.devnull)  # noqa: SIM115
    tqdm.set_lock(
        threading.RLock()
    )  # the default lock is shared between processes, and stays locked when its holder is killed

    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())

    def send(reports: Sequence[Report]) -> None:
        connection.send_bytes(pickle.dumps(reports))

    worker = RemoteWorker()
    with suppress(EOFError, ConnectionError):
        send([])  # ready
        while True:
            bundle: Bundle = pickle.loads(connection.recv_bytes())
            send(worker.execute(bundle, lambda message: send([message])))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
