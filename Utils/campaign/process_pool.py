"""How are several runs carried out at once on this machine?

By processes that carry out one run after the other, so that data and scores are read and made once in each. They write
nothing: results, checkpoints and progress come back to the one that started them, and they end with it.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from tqdm import tqdm

from Utils.campaign.jobs import DEATHS_AT_START, Failed, Finished, Job, Report, WorkerDied, execute_remotely
from Utils.errors import UserError

_PATIENCE = 5.0
"""Seconds."""


@dataclass
class _Worker:
    process: Any
    connection: Connection
    job: Job | None = None
    is_ready: bool = False


@dataclass
class ProcessPool:
    """Processes that carry out the runs of an experiment."""

    module: str
    """The experiment's, by name."""
    count: int
    workers: list[_Worker] = field(default_factory=list)
    deaths: int = 0

    def __post_init__(self) -> None:
        methods = multiprocessing.get_all_start_methods()
        # A server that has read PyTorch once starts workers from then on in an instant.
        self.context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            self.context.set_forkserver_preload(["Utils.campaign.process_pool", self.module])
        try:
            for number in range(self.count):
                self.workers.append(self._start(number))
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | EOFError):
                raise UserError(f"--workers={self.count} processes cannot be started: {error}") from error
            raise

    def free_slots(self) -> list[int]:
        """The workers that have nothing to do."""
        return [number for number, worker in enumerate(self.workers) if worker.is_ready and worker.job is None]

    def submit(self, job: Job, place: int) -> None:
        """Give a worker a job."""
        worker = self.workers[place]
        worker.job = job
        # A worker that died finds out here or in `wait`; the job is lost either way.
        with suppress(OSError):
            worker.connection.send_bytes(pickle.dumps(job))

    def wait(self, seconds: float) -> list[Report]:
        """What workers told; those that died are replaced."""
        handles: Sequence[Any] = [w.connection for w in self.workers] + [w.process.sentinel for w in self.workers]
        ready = set(wait(handles, seconds))
        events: list[Report] = []
        for number, worker in enumerate(self.workers):
            is_alive = worker.process.sentinel not in ready
            if worker.connection in ready:
                is_alive &= self._read(worker, events)
            if not is_alive:
                events += self._replace_dead(worker)
                self.workers[number] = self._start(number)
        return events

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self.workers:
            if worker.job is not None:
                worker.process.kill()
            worker.connection.close()  # which those that wait for a job take as the end
        for worker in self.workers:
            worker.process.join(_PATIENCE)
            worker.process.kill()
            worker.process.join()
        self.workers = []

    def _start(self, number: int) -> _Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(self.module, theirs, number))
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _read(self, worker: _Worker, events: list[Report]) -> bool:
        """Take what a worker has sent; False if it is dead."""
        try:
            while worker.connection.poll():
                event: Report | None = pickle.loads(worker.connection.recv_bytes())
                worker.is_ready, self.deaths = True, 0
                if event is None:
                    continue
                if isinstance(event, Finished | Failed):
                    worker.job = None
                events.append(event)
        except (EOFError, OSError, pickle.UnpicklingError):
            return False
        return True

    def _replace_dead(self, worker: _Worker) -> list[Report]:
        events: list[Report] = []
        self._read(worker, events)
        # What is not known to be dead must be: its run is made again.
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        how = _describe_exit(worker.process.exitcode)
        if worker.job is not None:
            return [*events, WorkerDied(worker.job.name, how)]
        self.deaths += not worker.is_ready
        if self.deaths >= DEATHS_AT_START:
            raise UserError(f"workers die before they do anything ({how}); try fewer --workers, or none")
        return events


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"its process ended with status {exit_code}"
    name = signal.Signals(-exit_code).name if -exit_code in list(signal.Signals) else f"signal {-exit_code}"
    memory = "; out of memory?" if name == "SIGKILL" else ""
    return f"its process was killed ({name}{memory})"


def _serve(module: str, connection: Connection, number: int) -> None:
    """Carry out jobs until the process that started this one ends; GPUs, if there are several, are shared out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first one decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdin = open(os.devnull)  # noqa: SIM115
    tqdm.set_lock(threading.RLock())  # the usual one is shared by processes, and left over by those that are killed

    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())

    def send(event: Report | None) -> None:
        connection.send_bytes(pickle.dumps(event))

    with suppress(EOFError, BrokenPipeError):
        send(None)  # it is there
        while True:
            job: Job = pickle.loads(connection.recv_bytes())
            send(execute_remotely(module, job, send))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
