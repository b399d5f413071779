"""How are runs carried out by Ray, on this machine or on a cluster of many?

Each worker is an actor with the processors and GPUs of one network, which carries out one run after the other. Images,
trained weights and checkpoints go to the workers; results, checkpoints and progress come back, so that the machines
need no common disk. What a worker was doing that dies is begun again by another.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from Utils.campaign.jobs import DEATHS_AT_START, Failed, Finished, Job, Message, Report, WorkerDied, execute_remotely
from Utils.config.settings import Settings
from Utils.data.dataset import ImageSpec, provide
from Utils.data.image_spec import ImageArrays
from Utils.errors import UserError

ROOT = Path(__file__).parents[2]
_SHIPPED_FOLDERS = ("Experiments", "Layers", "Models", "Pruners", "Utils")
"""What workers need of the program's folder."""


@dataclass(frozen=True)
class Resources:
    """What one network takes."""

    threads: int
    gpus: float


@dataclass(frozen=True)
class ShippedData:
    """A data set, as workers get it."""

    name: str
    path: str
    frame: ImageSpec
    images: ImageArrays


@dataclass
class _Slot:
    actor: Any
    ready: Any
    """What its start is waited for by; None as soon as it has started."""
    job: Job | None = None
    result: Any = None
    """What the job's end is waited for by."""


@dataclass
class RayPool:
    """Workers on a Ray cluster."""

    module: str
    """The experiment's, by name."""
    address: str | None
    needs: Resources
    count: int
    """Runs to do: there is use for as many workers."""
    workers: int | None = None
    data: list[ShippedData] = field(default_factory=list)
    slots: list[_Slot] = field(default_factory=list)
    deaths: int = 0

    def __post_init__(self) -> None:
        self.ray = connect(self.address, self.needs)
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.references = [self.ray.put(pickle.dumps(shipped)) for shipped in self.data]
        # What is told must outlive the machines that tell it.
        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
        self.messages: Any = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self.slots = [self._start() for _ in range(min(self.count, self.workers or self._room()))]

    def free_slots(self) -> list[int]:
        """The workers that have nothing to do."""
        self._check_starting()
        return [number for number, place in enumerate(self.slots) if place.ready is None and place.job is None]

    def _check_starting(self) -> None:
        """See which workers have started."""
        starting = {place.ready: place for place in self.slots if place.ready is not None}
        ready, _ = self.ray.wait(list(starting), num_returns=len(starting), timeout=0) if starting else ([], [])
        for reference in ready:
            self._finish_start(starting[reference])

    def submit(self, job: Job, place: int) -> None:
        """Give a worker a job."""
        worker = self.slots[place]
        worker.job = job
        worker.result = worker.actor.execute.remote(
            pickle.dumps(replace(job, settings=with_absolute_paths(job.settings)))
        )

    def wait(self, seconds: float) -> list[Report]:
        """What workers told; those that died are replaced."""
        self._check_starting()
        busy = {place.result: number for number, place in enumerate(self.slots) if place.job is not None}
        starting = [place.ready for place in self.slots if place.ready is not None]
        if busy or starting:
            ready, _ = self.ray.wait([*busy, *starting], num_returns=1, timeout=seconds)
        else:
            ready = []
            time.sleep(seconds)
        events = self._read_messages()
        for number in (busy[result] for result in ready if result in busy):
            place = self.slots[number]
            assert place.job is not None
            name, place.job = place.job.name, None
            try:
                events.append(pickle.loads(self.ray.get(place.result)))
            except self.ray.exceptions.RayError as error:
                events.append(WorkerDied(name, _describe_loss(error)))
                self.slots[number] = self._start()
        return events

    def close(self) -> None:
        """End all workers, and Ray with them if it was started here."""
        for place in self.slots:
            with suppress(Exception):
                self.ray.kill(place.actor)
        with suppress(Exception):
            self.messages.shutdown(force=True)
        self.ray.shutdown()

    def _start(self) -> _Slot:
        worker = self.ray.remote(num_cpus=self.needs.threads, num_gpus=self.needs.gpus, max_restarts=0)(_Actor)
        actor = worker.remote(self.module, self.messages, *self.references)
        return _Slot(actor, actor.ping.remote())

    def _finish_start(self, place: _Slot) -> None:
        """A worker has started, or failed to."""
        try:
            self.ray.get(place.ready)
        except self.ray.exceptions.RayError as error:
            self.deaths += 1
            if self.deaths >= DEATHS_AT_START:
                raise UserError(f"Ray's workers die at their start: {_describe_loss(error)}") from error
            self.slots[self.slots.index(place)] = self._start()
        else:
            place.ready, self.deaths = None, 0

    def _read_messages(self) -> list[Report]:
        running = {place.job.name for place in self.slots if place.job is not None}
        try:
            waiting = self.messages.qsize()
            events = [pickle.loads(content) for content in self.messages.get_nowait_batch(waiting)] if waiting else []
        except self.ray.exceptions.RayError as error:
            reason = "Ray has ended on the machine that this command runs on"
            raise UserError(f"{reason} ({_describe_loss(error)}); the same command goes on from here") from error
        return [event for event in events if event.name in running]

    def _room(self) -> int:
        """How many networks the cluster has room for."""
        resources = self.ray.cluster_resources()
        room = [resources.get("CPU", 0) / self.needs.threads]
        if self.needs.gpus:
            room.append(resources.get("GPU", 0) / self.needs.gpus)
        return max(1, int(min(room)))


class _Actor:
    """An actor: what carries out one run after the other, somewhere."""

    def __init__(self, module: str, told: Any, *shipped: bytes) -> None:
        self.module, self.told = module, told
        for content in shipped:
            data: ShippedData = pickle.loads(content)
            provide(data.name, data.path, data.frame, data.images)

    def ping(self) -> bool:
        """Yes."""
        return True

    def execute(self, content: bytes) -> bytes:
        """Carry out a job; returns how it ended."""
        job: Job = pickle.loads(content)
        found: Finished | Failed = execute_remotely(self.module, job, self.send)
        return pickle.dumps(found)

    def send(self, told: Message) -> None:
        """Tell the one who waits."""
        self.told.put(pickle.dumps(told))


def with_absolute_paths(settings: Settings) -> Settings:
    """The same run for a process with another working directory."""
    run, pruning = settings.run, settings.pruning
    values = {"out_path": os.path.abspath(run.out_path), "path_to_data": os.path.abspath(run.path_to_data)}
    for name in ("weights_from", "masks_from"):
        place = getattr(pruning, name)
        if place is not None and os.path.exists(place):
            values[name] = os.path.abspath(place)
    source, colon, factory = run.architecture.rpartition(":")
    if colon and os.path.exists(source):
        values["architecture"] = f"{os.path.abspath(source)}:{factory}"
    return settings.with_values(**values)


def connect(address: str | None, needs: Resources) -> Any:
    """Ray, connected or started. Raises `UserError` without the package, the cluster, or room for one network."""
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise UserError("--launcher=ray needs the package ray: pip install ray") from error
    _check_address(address)
    code = {"py_modules": [str(ROOT / name) for name in _SHIPPED_FOLDERS], "excludes": ["**/__pycache__"]}
    own = {} if address is not None else {"include_dashboard": False}
    try:
        # "local" for a new one in any case: left out, Ray looks for one that runs, or did, on this machine.
        ray.init(address=address or "local", runtime_env=code, logging_level="error", log_to_driver=False, **own)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        where = address or "here"
        raise UserError(f"--ray_address={where}: no Ray cluster answers ({str(error).splitlines()[0]})") from error
    lacking = [
        f"{wanted:g} {unit}s, the largest machine has {most:g}"
        for unit, wanted in (("CPU", needs.threads), ("GPU", needs.gpus))
        if wanted > (most := max((node["Resources"].get(unit, 0) for node in ray.nodes() if node["Alive"]), default=0))
    ]
    if lacking:
        ray.shutdown()
        raise UserError(f"Ray has no room for a network of {'; '.join(lacking)}: give less --threads or --gpus")
    return ray


def _check_address(address: str | None) -> None:
    """Raise `UserError` at once where nobody answers: Ray itself would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if not colon or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise UserError(f"--ray_address={address}: no Ray cluster answers ({error})") from error


def _describe_loss(error: Exception) -> str:
    kind = type(error).__name__
    memory = "; out of memory" if "Memory" in kind else ""
    return f"its worker was lost ({kind}{memory}; {str(error).splitlines()[0]})"
