"""Benchmarks: training steps, ops, memory and recording overhead, beside other frameworks."""

from tinygrad_cnn.bench.benchmark import PARTS, Plan, measure
from tinygrad_cnn.bench.figure import draw_roofline
from tinygrad_cnn.bench.machine import Machine, describe
from tinygrad_cnn.bench.profile import OpCall, OpProfile
from tinygrad_cnn.bench.report import Report
from tinygrad_cnn.bench.workloads import WORKLOADS, Network, Workload, select

__all__ = [
    "PARTS",
    "WORKLOADS",
    "Machine",
    "Network",
    "OpCall",
    "OpProfile",
    "Plan",
    "Report",
    "Workload",
    "describe",
    "draw_roofline",
    "measure",
    "select",
]
