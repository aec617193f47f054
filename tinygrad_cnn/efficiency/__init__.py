"""How fast it is: whole steps, each op, memory and recording, beside whatever peers there are."""

from tinygrad_cnn.efficiency.benchmark import PARTS, Plan, measure
from tinygrad_cnn.efficiency.figure import draw_roofline
from tinygrad_cnn.efficiency.machine import Machine, describe
from tinygrad_cnn.efficiency.profile import OpCall, OpProfile
from tinygrad_cnn.efficiency.report import Report
from tinygrad_cnn.efficiency.workloads import WORKLOADS, Network, Workload, select

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
