"""A worker process and its client; see `tinygrad_cnn.bench.worker`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Self

from tinygrad_cnn.support.processes import SAFE_PATH

__all__ = ["RETURN_FREED", "Worker", "WorkerError"]

FOLDER = Path(__file__).parent
PACKAGE_ROOT = FOLDER.parents[1]
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
          "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS")  # fmt: skip
RETURN_FREED = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""Environment that makes glibc return every freed block above 128 KiB to the system."""
# The folder is on the path only while the worker is imported, so that it shadows no other module.
START = """import sys
sys.path.insert(0, sys.argv[1])
from worker.serve import serve
sys.path[:1] = [sys.argv[3]] if sys.argv[3] else []
serve(sys.argv[2])"""


class WorkerError(RuntimeError):
    """A worker failed, or its process has ended."""


class Worker:
    """A worker process for one framework; end it with `close`, or use it in ``with``.

    Parameters
    ----------
    framework : str
    python : str
        The interpreter that runs it.
    threads : int
        Thread count, passed to libraries through environment variables.
    environment : mapping of str to str, optional
        Further environment variables.

    Raises
    ------
    WorkerError
        If the interpreter cannot be started.

    Examples
    --------
    >>> import sys
    >>> with Worker("numpy", sys.executable, threads=1) as worker:
    ...     worker.ask("hello")["installed"]
    True
    """

    def __init__(
        self,
        framework: str,
        python: str,
        threads: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.framework = framework
        own = str(PACKAGE_ROOT) if framework == "tinygrad_cnn" else ""
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        try:
            self._process = subprocess.Popen(
                [python, "-c", START, str(FOLDER), framework, own],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                env={
                    **os.environ,
                    **SAFE_PATH,
                    **dict.fromkeys(LIMITS, str(threads)),
                    **(environment or {}),
                },
                encoding="utf-8",
            )
        except OSError as error:
            self._complaints.close()
            raise WorkerError(f"{framework}: {python} cannot be started: {error}") from error

    def ask(self, do: str, limit: float = math.inf, **fields: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Parameters
        ----------
        do : str
            The request.
        limit : float
            Kill the worker after this many seconds.
        **fields
            Fields of the request.

        Raises
        ------
        WorkerError
            If the worker reports a failure, ends, or takes too long.
        """
        timer = threading.Timer(min(limit, threading.TIMEOUT_MAX), self._process.kill)
        timer.daemon = True
        started = perf_counter()
        timer.start()
        try:
            return self._answer(do, fields)
        except WorkerError:
            if perf_counter() - started < limit:
                raise
            raise WorkerError(f"{self.framework}: took longer than {limit:g} seconds") from None
        finally:
            timer.cancel()

    def _answer(self, do: str, fields: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **fields}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"{self.framework}: the worker ended{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.framework}: {answer['error']}")
        return answer

    def run(self, times: int) -> list[float]:
        """Return the seconds of each of `times` runs."""
        seconds: list[float] = self.ask("run", times=times)["seconds"]
        return seconds

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # a request left unsent is no longer needed
                    stream.close()
        self._complaints.close()

    def _last_words(self) -> str:
        """Return the last line of its stderr, after a colon."""
        self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f": {said[-1]}" if said else f" with status {self._process.returncode}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
