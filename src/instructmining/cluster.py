"""A Ray cluster: joining it, dividing it, and actors that are replaced when they die."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from instructmining.errors import InputError, InstructMiningError, ModelError

#: Deaths of a worker over one call after which the call is at fault.
_DEATHS = 3
#: Calls an actor has waiting, so that it need not wait for the driver.
_AHEAD = 2
#: Beginnings of the names of what workers need of the driver's environment.
_PASSED_ON = ("INSTRUCTMINING_", "HF_", "AWS_", "GOOGLE_APPLICATION_", "AZURE_STORAGE_")

GivenT = TypeVar("GivenT")
ResultT = TypeVar("ResultT")


def connect() -> Any:
    """Return the library, joined to a cluster: ``RAY_ADDRESS``, or one of this machine's cores.

    Raises
    ------
    InputError
        If Ray is not installed or the cluster cannot be reached.
    """
    # Usage reports would leave the machine.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--engine ray: Ray is not installed; pip install 'instructmining[ray]'"
        ) from error
    if not ray.is_initialized():
        try:
            ray.init(
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = os.environ.get("RAY_ADDRESS", "this machine")
            raise InputError(
                f"--engine ray: no cluster at {where} ({type(error).__name__}); "
                "start one (ray start --head) or unset RAY_ADDRESS"
            ) from error
    return ray


@dataclass(frozen=True)
class Resources:
    """What each worker holds of the cluster.

    Parameters
    ----------
    workers : int
        How many workers.
    cpus, gpus : float
        Held by each.
    """

    workers: int
    cpus: float
    gpus: float

    @classmethod
    def share(cls, workers: int | None = None) -> Resources:
        """Divide what the cluster has: a worker per GPU, or per core where there is none.

        Parameters
        ----------
        workers : int, optional
            Another number of workers.

        Raises
        ------
        InputError
            If the cluster has not a core for each.
        """
        has: Mapping[str, float] = connect().cluster_resources()
        cpus, gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
        n = workers or gpus or cpus
        if not 1 <= n <= cpus:
            raise InputError(f"--workers {n}: the cluster has {cpus} cores; ask for at most those")
        return cls(n, float(cpus // n), min(1.0, gpus / n))

    def options(self) -> dict[str, Any]:
        """Return what Ray is told of a worker: what it holds, and its environment."""
        passed_on = {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)}
        env = {"env_vars": passed_on} if passed_on else None
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "runtime_env": env}

    def run(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Call a function once where a worker would be, and return what it returns.

        Raises
        ------
        InstructMiningError
            What the function raised.
        """
        ray = connect()
        task = ray.remote(function).options(**self.options())
        result: ResultT = result_of(task.remote(*arguments))
        return result


def result_of(reference: Any) -> Any:
    """Wait for a task and return what it gave.

    Raises
    ------
    InstructMiningError
        What the task raised.
    """
    ray = connect()
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise _own(error) from None


def each(
    function: Callable[[GivenT], ResultT], given: Iterable[GivenT], resources: Resources | None
) -> Iterator[ResultT]:
    """Yield what a function returns for each of `given`, in that order.

    Parameters
    ----------
    function : callable
        Gives the same again when it is called again, as it is where a worker dies.
    given : iterable
        Taken as workers become free, never far ahead.
    resources : Resources or None
        Where it is called: in tasks of the cluster; None for this process, one after another.

    Raises
    ------
    InstructMiningError
        What the function raised.
    ModelError
        If a call kills its worker, and those that Ray starts after it.
    """
    if resources is None:
        yield from map(function, given)
        return
    ray = connect()
    task = ray.remote(_call).options(**resources.options())
    sent = ray.put(function)
    waiting, pending = iter(given), deque[Any]()
    while True:
        for one in islice(waiting, _AHEAD * resources.workers - len(pending)):
            pending.append(task.remote(sent, one))
        if not pending:
            return
        try:
            result: ResultT = result_of(pending.popleft())
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise ModelError(
                f"a task killed every worker it was given ({_last_line(error)}); give each more "
                "memory (fewer --workers)"
            ) from error
        yield result


def _call(function: Callable[[GivenT], ResultT], given: GivenT) -> ResultT:
    return function(given)


class Actors:
    """Actors of one kind; one that dies is replaced, and what it had waiting is given again.

    Parameters
    ----------
    make : type
        Class of the actors.
    arguments : tuple
        For its constructor.
    resources : Resources
        How many, and what each holds.
    """

    def __init__(self, make: type, arguments: tuple[Any, ...], resources: Resources) -> None:
        self._ray = connect()
        self._options = resources.options()
        self._make, self._arguments = make, arguments
        self._n = resources.workers
        self._living: list[Any] = []

    def _start(self) -> Any:
        remote = self._ray.remote(self._make).options(**self._options)
        return remote.remote(*self._arguments)

    def map(
        self,
        method: str,
        given: Iterable[GivenT],
        describe: Callable[[GivenT], str],
        *,
        ordered: bool,
    ) -> Iterator[Any]:
        """Call a method of the actors with each of `given`; yield what comes back.

        Parameters
        ----------
        method : str
            Which method.
        given : iterable
            Taken as actors become free, never far ahead.
        describe : callable
            Names one of `given` in an error.
        ordered : bool
            Whether results come in the order of `given`, or as they are done.

        Raises
        ------
        InstructMiningError
            What an actor raised.
        ModelError
            If a call kills its actor three times.
        """
        while len(self._living) < self._n:
            self._living.append(self._start())
        calls = _Calls(self._ray, method, describe, self._living, self._start)
        waiting = iter(given)
        more = True
        while more or calls:
            while more and calls.free():
                try:
                    calls.begin(next(waiting))
                except StopIteration:
                    more = False
            if calls:
                yield from calls.finished(ordered=ordered)

    def close(self) -> None:
        """Stop the actors."""
        for actor in self._living:
            self._ray.kill(actor)
        self._living.clear()


@dataclass(eq=False)
class _Call:
    given: Any
    actor: Any = None
    reference: Any = None
    deaths: int = 0
    done: bool = False
    result: Any = None


class _Calls:
    """Calls under way, in the order they were begun.

    When an actor dies, any of the calls it had may be to blame, even one that was through and
    whose answer was lost. So each is made again alone, until it is through or has proved fatal.
    """

    def __init__(
        self,
        ray: Any,
        method: str,
        describe: Callable[[Any], str],
        actors: list[Any],
        start: Callable[[], Any],
    ) -> None:
        self._ray, self._method, self._describe = ray, method, describe
        self._actors, self._start = actors, start
        self._calls: deque[_Call] = deque()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def free(self) -> bool:
        """Whether an actor can take one more; suspects come first."""
        return len(self._calls) < _AHEAD * len(self._actors) and not self._suspects()

    def begin(self, given: Any) -> None:
        """Give it to the actor with the least to do."""
        call = _Call(given)
        self._calls.append(call)
        self._send(call, min(self._actors, key=lambda actor: len(self._of(actor))))

    def finished(self, *, ordered: bool) -> Iterator[Any]:
        """Wait for a call; yield what is done, with `ordered` up to the first that is not."""
        for call in self._suspects():
            idle = next((actor for actor in self._actors if not self._of(actor)), None)
            if idle is not None and call.reference is None:
                self._send(call, idle)
        pending = {call.reference: call for call in self._calls if call.reference and not call.done}
        if pending:
            ready, _ = self._ray.wait(list(pending), num_returns=1)
            for reference in ready:
                self._collect(pending[reference])
        for call in list(self._calls):
            if call.done:
                self._calls.remove(call)
                yield call.result
            elif ordered:
                return

    def _suspects(self) -> list[_Call]:
        return [call for call in self._calls if call.deaths and not call.done]

    def _of(self, actor: Any) -> list[_Call]:
        return [call for call in self._calls if call.actor is actor and not call.done]

    def _send(self, call: _Call, actor: Any) -> None:
        call.actor = actor
        call.reference = getattr(actor, self._method).remote(call.given)

    def _collect(self, call: _Call) -> None:
        exceptions = self._ray.exceptions
        try:
            call.result = self._ray.get(call.reference)
            call.done = True
        except exceptions.RayTaskError as error:
            raise _own(error) from None
        except (exceptions.RayActorError, exceptions.OutOfMemoryError) as error:
            self._bury(call.actor, error)

    def _bury(self, dead: Any, error: Exception) -> None:
        """Start an actor for one that died; what that one had is to be made again."""
        lost = self._of(dead)
        for call in lost:
            call.deaths += 1
            call.actor = call.reference = None
        if len(lost) == 1 and lost[0].deaths >= _DEATHS:
            raise ModelError(
                f"{self._describe(lost[0].given)}: killed {_DEATHS} workers "
                f"({_last_line(error)}); give each more memory (fewer --workers)"
            ) from error
        self._actors[self._actors.index(dead)] = self._start()


def _last_line(error: Exception) -> str:
    """Return what Ray says at last: the error of an actor's beginning, or how a process ended."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _own(error: Any) -> Exception:
    """Return what a worker raised as this process would have raised it; else what Ray raised."""
    raised: Exception = error.cause if isinstance(error.cause, InstructMiningError) else error
    return raised
