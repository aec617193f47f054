"""The line protocol: one JSON request per line in, one JSON answer per line out."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import metadata
from typing import Any, TextIO

import numpy as np

from . import task as tasks
from .clock import seconds_of, settle_allocator
from .course import Course, CourseEpoch
from .memory import peak_of
from .roofs import roofs

Answer = dict[str, Any]
MOST_STEPS = 500


def serve(framework: str) -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    answers = _own_output()
    side = RequestHandler(framework)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(side, f"do_{request.pop('do')}")(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _own_output() -> TextIO:
    """Return stdout, and redirect all other prints to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


class RequestHandler:
    """The request handler; each ``do_`` method is a request, its arguments the fields."""

    def __init__(self, framework: str) -> None:
        self.framework = framework
        self.package, *_ = framework.split(".")
        self.module = importlib.import_module(f".with_{framework.replace('.', '_')}", __package__)
        settle_allocator()
        self.task: tasks.Task
        self.calls: tasks.Calls
        self.timed: Callable[[], float]
        self.epochs: Iterator[CourseEpoch]
        self.limit = ExitStack()
        self.renew: Callable[[], None]
        self.steps = 0

    def do_hello(self) -> Answer:
        """Report whether the framework is installed, and its versions."""
        if importlib.util.find_spec(self.package) is None:
            return {"installed": False}
        if hasattr(self.module, "missing") and (missing := self.module.missing()):
            return {"installed": False, "missing": missing}
        try:
            version = metadata.version(self.package)
        except metadata.PackageNotFoundError:  # running from source
            version = getattr(importlib.import_module(self.package), "__version__", "")
        return {
            "installed": True,
            "version": version,
            "numpy": metadata.version("numpy"),
            "python": platform.python_version(),
            "variants": self.module.VARIANTS,
            "kinds": self.module.KINDS,
            "chain": hasattr(self.module, "chain"),
            "network": hasattr(self.module, "build"),
        }

    def set_options(self, threads: int, variant: str) -> None:
        """Limit the framework's threads and choose a variant, where it has settings for them."""
        self.limit.close()
        if hasattr(self.module, "limit_threads"):
            self.limit.enter_context(self.module.limit_threads(threads))
        if hasattr(self.module, "options"):
            self.limit.enter_context(self.module.options(variant))

    def do_build(self, mode: str, threads: int = 1, variant: str = "", **what: Any) -> Answer:
        """Build the network and report its number of parameters."""
        self.set_options(threads, variant)
        training = mode != "inference"
        self.task = tasks.make_task(**what, variant=variant, training=training)

        def build() -> None:
            self.calls = self.module.build(self.task)
            run = self.calls.infer if mode == "inference" else self.calls.step
            self.timed = lambda: seconds_of(run)

        build()
        renew = self.calls.renew or build
        self.renew, self.steps = renew if training else (lambda: None), 0
        return {"parameters": int(self.calls.parameters)}

    def do_chain(self, mode: str) -> Answer:
        """Build the chain of small ops, to time its forward or backward."""
        chain: tasks.Chain = self.module.chain()

        def forward() -> float:
            return seconds_of(chain.forward)

        def backward() -> float:
            y = chain.forward()
            return seconds_of(lambda: chain.backward(y))

        self.timed = forward if mode == "forward" else backward
        self.renew, self.steps = (lambda: None), 0
        return {}

    def do_run(self, times: int) -> Answer:
        """Run the built workload and report the seconds of each run.

        Momentum's velocities of units that never fire decay. After some 800 steps they are denormal
        numbers, which processors multiply slowly. So training starts again
        before the run that would exceed `MOST_STEPS`; inference has no velocities.
        """
        self.steps += times
        if self.steps > MOST_STEPS:
            self.renew()
            self.steps = times
        return {"seconds": [self.timed() for _ in range(times)]}

    def do_losses(self, steps: int) -> Answer:
        """Train and report the loss of each step."""
        return {"losses": [float(self.calls.step()) for _ in range(steps)]}

    def do_logits(self, count: int) -> Answer:
        """Infer and report some of the logits."""
        logits = np.asarray(self.calls.infer()).ravel()
        return {"logits": [float(each) for each in logits[:: max(len(logits) // count, 1)]]}

    def do_start(self, path: str, threads: int, variant: str = "") -> Answer:
        """Prepare to follow the course in a file."""
        self.set_options(threads, variant)
        course = Course.read(path)
        self.epochs = course.epochs(self.module.learner(course.task._replace(variant=variant)))
        return {}

    def do_epoch(self) -> Answer:
        """Follow the course for the next epoch and report its losses, seconds and accuracy."""
        return next(self.epochs)._asdict()

    def do_memory(self, steps: int, before: int = 0) -> Answer:
        """Train and report the peak memory growth, after some steps that do not count."""
        return {"bytes": peak_of(self.calls.step, steps, before)}

    def do_profile(self, steps: int) -> Answer:
        """Train and report each op's work and time in a step."""
        return {"calls": self.module.profile(self.task, steps)}

    def do_roofs(self, threads: int, seconds: float) -> Answer:
        """Report the machine's peak rates."""
        return {"roofs": roofs(threads, seconds)}
