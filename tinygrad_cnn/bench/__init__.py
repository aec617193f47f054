"""Benchmarks of training steps, ops, memory and overhead, compared with other frameworks."""

from typing import TYPE_CHECKING

from tinygrad_cnn.bench.benchmark import PARTS, BenchmarkPlan, measure
from tinygrad_cnn.bench.figure import draw_roofline
from tinygrad_cnn.bench.machine import Machine, describe
from tinygrad_cnn.bench.networks import Network
from tinygrad_cnn.bench.profile import OpCall, OpProfile
from tinygrad_cnn.bench.report import BenchmarkReport
from tinygrad_cnn.bench.workloads import WORKLOADS, Workload, select
from tinygrad_cnn.support.modules import public

__all__ = [
    "PARTS",
    "WORKLOADS",
    "BenchmarkPlan",
    "BenchmarkReport",
    "Machine",
    "Network",
    "OpCall",
    "OpProfile",
    "Workload",
    "describe",
    "draw_roofline",
    "measure",
    "select",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
