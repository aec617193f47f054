"""How fast it is, beside other frameworks (`bench`), and what the text claims (`experiments`)."""

from tinygrad_cnn.efficiency.bench.benchmark import PARTS, Plan, measure
from tinygrad_cnn.efficiency.bench.figure import draw_roofline
from tinygrad_cnn.efficiency.bench.profile import OpCall, OpProfile
from tinygrad_cnn.efficiency.bench.report import Report
from tinygrad_cnn.efficiency.bench.workloads import WORKLOADS, Network, Workload, select
from tinygrad_cnn.efficiency.machine import Machine, describe

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
