"""Ray pool: executes runs with Ray, on this machine or on a cluster.

Each worker is an actor with the processors and GPUs of one network; it executes one run after another. Images, trained
weights and checkpoints are sent to the workers; results, checkpoints and progress come back. The machines need no
common disk. The run of a worker that died is executed again by another.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from Utils.campaign.jobs import DEATHS_AT_START, Bundle, Message, Report, WorkerDied
from Utils.campaign.worker import RemoteWorker
from Utils.config.settings import Settings
from Utils.data.image_spec import ImageArrays, ImageSpec
from Utils.errors import UserError, one_line
from Utils.training.memory import WorkerMemory

ROOT = Path(__file__).parents[3]
_SHIPPED_FOLDERS = ("Experiments", "Layers", "Models", "Pruners", "Utils")
"""Folders of the program that are shipped to the workers."""

_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""First bytes of a client of Ray's servers, which speak HTTP/2: the preface and an empty SETTINGS frame."""

_SETTINGS_FRAME = 4
"""Fourth byte of the answer: the type of its frame."""

_ANSWER_SECONDS = 10


@dataclass(frozen=True)
class Resources:
    """Processors and GPUs of one worker."""

    threads: int
    gpus: float


ImageKey = tuple[str, str, ImageSpec]
"""Name, path and spec of a data set that is sent to workers."""


@dataclass
class _Slot:
    actor: Any
    ready: Any
    """Reference that resolves when the actor has started; None afterwards."""
    bundle: Bundle = ()
    result: Any = None
    """Reference that resolves when the bundle ends."""


@dataclass
class RayPool:
    """Workers on a Ray cluster that execute runs."""

    address: str | None
    needs: Resources
    count: int
    """Number of runs to execute, an upper bound on useful workers."""
    workers: int | None = None
    images: dict[ImageKey, ImageArrays] = field(default_factory=dict)
    """Images that are sent to the workers."""
    slots: list[_Slot] = field(default_factory=list)
    deaths: int = 0
    is_remote: bool = True
    is_group: bool = False

    def __post_init__(self) -> None:
        self.ray = connect(self.address, self.needs)
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.references = [self.ray.put(pickle.dumps(images)) for images in self.images.items()]
        # Messages must outlive the machines that send them.
        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
        self.messages: Any = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self.slots = [self._start() for _ in range(min(self.count, self.workers or self._room()))]

    def listen(self, listener: Callable[[Report], None]) -> None:
        """Messages come with the other reports."""

    def free_slots(self) -> list[int]:
        """Numbers of the idle workers."""
        self._check_starting()
        return [number for number, slot in enumerate(self.slots) if slot.ready is None and not slot.bundle]

    def _check_starting(self) -> None:
        """Note which workers have started."""
        starting = {slot.ready: slot for slot in self.slots if slot.ready is not None}
        ready, _ = self.ray.wait(list(starting), num_returns=len(starting), timeout=0) if starting else ([], [])
        for reference in ready:
            self._finish_start(starting[reference])

    def submit(self, bundle: Bundle, slot: int) -> None:
        """Give a bundle to an idle worker."""
        worker = self.slots[slot]
        worker.bundle = bundle
        jobs = tuple(replace(job, settings=with_absolute_paths(job.settings)) for job in bundle)
        worker.result = worker.actor.execute.remote(pickle.dumps(jobs))

    def wait(self, seconds: float) -> list[Report]:
        """Reports of the workers; workers that died are replaced."""
        self._check_starting()
        busy = {slot.result: number for number, slot in enumerate(self.slots) if slot.bundle}
        starting = [slot.ready for slot in self.slots if slot.ready is not None]
        if busy or starting:
            ready, _ = self.ray.wait([*busy, *starting], num_returns=1, timeout=seconds)
        else:
            ready = []
            time.sleep(seconds)
        reports = self._read_messages()
        for number in (busy[result] for result in ready if result in busy):
            slot = self.slots[number]
            bundle, slot.bundle = slot.bundle, ()
            try:
                reports += pickle.loads(self.ray.get(slot.result))
            except self.ray.exceptions.RayError as error:
                reports += [WorkerDied(job.name, _describe_loss(error)) for job in bundle]
                self.slots[number] = self._start()
        return reports

    def close(self) -> None:
        """End all workers, and Ray too if this command started it."""
        for slot in self.slots:
            with suppress(Exception):
                self.ray.kill(slot.actor)
        with suppress(Exception):
            self.messages.shutdown(force=True)
        self.ray.shutdown()

    def _start(self) -> _Slot:
        worker = self.ray.remote(num_cpus=self.needs.threads, num_gpus=self.needs.gpus, max_restarts=0)(_Actor)
        actor = worker.remote(self.messages, *self.references)
        return _Slot(actor, actor.ping.remote())

    def _finish_start(self, slot: _Slot) -> None:
        """Note that a worker has started, or replace it if its start failed."""
        try:
            self.ray.get(slot.ready)
        except self.ray.exceptions.RayError as error:
            self.deaths += 1
            if self.deaths >= DEATHS_AT_START:
                raise UserError(f"Ray's workers die at their start: {_describe_loss(error)}") from error
            self.slots[self.slots.index(slot)] = self._start()
        else:
            slot.ready, self.deaths = None, 0

    def _read_messages(self) -> list[Report]:
        running = {job.name for slot in self.slots for job in slot.bundle}
        try:
            waiting = self.messages.qsize()
            reports = [pickle.loads(content) for content in self.messages.get_nowait_batch(waiting)] if waiting else []
        except self.ray.exceptions.RayError as error:
            reason = "Ray has ended on the machine that this command runs on"
            raise UserError(f"{reason} ({_describe_loss(error)}); the same command resumes from here") from error
        return [report for report in reports if report.name in running]

    def _room(self) -> int:
        """The number of workers that fit on the cluster."""
        resources = self.ray.cluster_resources()
        room = [resources.get("CPU", 0) / self.needs.threads]
        if self.needs.gpus:
            room.append(resources.get("GPU", 0) / self.needs.gpus)
        return max(1, int(min(room)))


class _Actor:
    """A Ray actor that executes one run after another."""

    def __init__(self, messages: Any, *shipped: bytes) -> None:
        self.messages = messages
        images: dict[ImageKey, ImageArrays] = dict(map(pickle.loads, shipped))
        self.worker = RemoteWorker(memory=WorkerMemory(images))

    def ping(self) -> bool:
        """Answer, which shows that the actor has started."""
        return True

    def execute(self, content: bytes) -> bytes:
        """Execute a pickled bundle; returns its pickled reports."""
        bundle: Bundle = pickle.loads(content)
        return pickle.dumps(self.worker.execute(bundle, self.send))

    def send(self, message: Message) -> None:
        """Send a message to the campaign."""
        self.messages.put(pickle.dumps(message))


def with_absolute_paths(settings: Settings) -> Settings:
    """The same run for a process in another working directory."""
    run, pruning = settings.run, settings.pruning
    values = {"out_path": os.path.abspath(run.out_path), "path_to_data": os.path.abspath(run.path_to_data)}
    for name in ("weights_from", "masks_from"):
        path = getattr(pruning, name)
        if path is not None and os.path.exists(path):
            values[name] = os.path.abspath(path)
    source, colon, factory = run.architecture.rpartition(":")
    if colon and os.path.exists(source):
        values["architecture"] = f"{os.path.abspath(source)}:{factory}"
    return settings.with_values(**values)


def connect(address: str | None, needs: Resources) -> Any:
    """Ray, connected or started. Raises `UserError` if the package, the cluster, or room for one network is missing."""
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise UserError("--launcher=ray needs the package ray: pip install ray") from error
    check_address(address)
    code = {"py_modules": [str(ROOT / name) for name in _SHIPPED_FOLDERS], "excludes": ["**/__pycache__"]}
    options = {} if address is not None else {"include_dashboard": False}
    try:
        # "local" always starts a new cluster; without it Ray would look for one that runs or ran on this machine.
        ray.init(address=address or "local", runtime_env=code, logging_level="error", log_to_driver=False, **options)
    except Exception as error:  # Ray raises many kinds
        raise UserError(f"--ray_address={address or 'here'}: no Ray cluster answers ({one_line(error)})") from error
    lacking = [
        f"{wanted:g} {unit}s, the largest machine has {most:g}"
        for unit, wanted in (("CPU", needs.threads), ("GPU", needs.gpus))
        if wanted > (most := max((node["Resources"].get(unit, 0) for node in ray.nodes() if node["Alive"]), default=0))
    ]
    if lacking:
        ray.shutdown()
        raise UserError(f"Ray has no room for a network of {'; '.join(lacking)}: give less --threads or --gpus")
    return ray


def check_address(address: str | None) -> None:
    """Raise `UserError` within seconds if no cluster answers; Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS) as connection:
            connection.sendall(_HTTP2_GREETING)
            if connection.recv(9, socket.MSG_WAITALL)[3:4] != bytes([_SETTINGS_FRAME]):
                raise ConnectionError("another program listens there")
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"--ray_address={address}: no Ray cluster answers ({one_line(error)})") from error


def _describe_loss(error: Exception) -> str:
    kind = type(error).__name__
    memory = "; out of memory" if "Memory" in kind else ""
    return f"its worker was lost ({kind}{memory}; {one_line(error)})"
