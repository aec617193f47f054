"""The line protocol: a request a line in, as JSON, an answer a line out."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from importlib import metadata
from time import perf_counter
from typing import Any, TextIO

from . import task as tasks
from .course import Course
from .memory import peak_of
from .roofs import roofs

Answer = dict[str, Any]


def serve(framework: str) -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    answers = _own_output()
    side = Side(framework)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(side, f"do_{request.pop('do')}")(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _own_output() -> TextIO:
    """Return stdout, and turn what anybody else prints there to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


class Side:
    """A framework that answers; each ``do_`` method is a request, its arguments the fields."""

    def __init__(self, framework: str) -> None:
        self.framework = framework
        self.module = importlib.import_module(f".with_{framework}", __package__)
        self.task: tasks.Task
        self.calls: tasks.Calls
        self.timed: Callable[[], float]

    def do_hello(self) -> Answer:
        """Say whether the framework is installed, and who answers."""
        if importlib.util.find_spec(self.framework) is None:
            return {"installed": False}
        try:
            version = metadata.version(self.framework)
        except metadata.PackageNotFoundError:  # run from its source
            version = getattr(importlib.import_module(self.framework), "__version__", "")
        return {
            "installed": True,
            "version": version,
            "numpy": metadata.version("numpy"),
            "python": platform.python_version(),
            "variants": self.module.VARIANTS,
            "chain": hasattr(self.module, "chain"),
            "network": hasattr(self.module, "build"),
        }

    def do_build(self, mode: str, **what: Any) -> Answer:
        """Build the network, and say how many parameters it has."""
        self.task = tasks.make_task(**what)
        self.calls = self.module.build(self.task)
        run = self.calls.infer if mode == "inference" else self.calls.step
        self.timed = lambda: seconds_of(run)
        return {"parameters": int(self.calls.parameters)}

    def do_chain(self, mode: str) -> Answer:
        """Make the chain of small ops, of which forward or backward will be timed."""
        chain: tasks.Chain = self.module.chain()

        def forward() -> float:
            return seconds_of(chain.forward)

        def backward() -> float:
            y = chain.forward()
            return seconds_of(lambda: chain.backward(y))

        self.timed = forward if mode == "forward" else backward
        return {}

    def do_run(self, times: int) -> Answer:
        """Run what was built, and say how long each time took."""
        return {"seconds": [self.timed() for _ in range(times)]}

    def do_losses(self, steps: int) -> Answer:
        """Train, and say the loss of each step."""
        return {"losses": [float(self.calls.step()) for _ in range(steps)]}

    def do_train(self, path: str, threads: int) -> Answer:
        """Go through the training that a file describes, and say how it went."""
        course = Course.read(path, threads)
        return course.follow(self.module.learner(course.task))

    def do_memory(self, steps: int) -> Answer:
        """Train, and say by how much the process grew at its peak."""
        return {"bytes": peak_of(self.calls.step, steps)}

    def do_profile(self, steps: int) -> Answer:
        """Train, and say what each op of a step does and takes."""
        return {"calls": self.module.profile(self.task, steps)}

    def do_roofs(self, threads: int, seconds: float) -> Answer:
        """Say what the machine can do at best."""
        return {"roofs": roofs(threads, seconds)}


def seconds_of(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    started = perf_counter()
    result = call()
    taken = perf_counter() - started
    del result  # a graph may be large: its end is no part of the call
    return taken
