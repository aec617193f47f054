"""Training: a loop, its history, and run folders.

>>> import numpy as np
>>> import tinygrad_cnn as tg
>>> from tinygrad_cnn.train import fit
>>> model = tg.nn.LeNet5(rng=np.random.default_rng(0))
>>> loader = tg.data.DataLoader(tg.data.digits().train[:640], batch_size=64, shuffle=True)
>>> history = fit(model, tg.cross_entropy, tg.optim.Adam(model.parameters()), loader, epochs=1)
>>> history[0].epoch, history[0].loss < 3
(1, True)
"""

from typing import TYPE_CHECKING

from tinygrad_cnn.support.modules import public
from tinygrad_cnn.train.checkpoint import Checkpoint
from tinygrad_cnn.train.choices import AUGMENTATIONS, OPTIMIZERS, SCHEDULES
from tinygrad_cnn.train.data_settings import DataSettings
from tinygrad_cnn.train.early_stopping import BestWeights, EarlyStopping
from tinygrad_cnn.train.errors import ModelFileError, RunError
from tinygrad_cnn.train.evaluation import Evaluation, evaluate
from tinygrad_cnn.train.history import Epoch, History
from tinygrad_cnn.train.interruption import TrainingInterrupted
from tinygrad_cnn.train.json_lines import JSONLines
from tinygrad_cnn.train.loop import Callback, Progress, TrainingDiverged, fit
from tinygrad_cnn.train.metrics import (
    METRICS,
    Accuracy,
    F1Score,
    JaccardIndex,
    Metric,
    Precision,
    Recall,
    TopKAccuracy,
)
from tinygrad_cnn.train.plots import plot_history
from tinygrad_cnn.train.recipes import RECIPES, recipe
from tinygrad_cnn.train.run_folder import RunFolder, TrainedModel, load_run
from tinygrad_cnn.train.settings import ModelSettings, RunSettings, TrainingSettings
from tinygrad_cnn.train.tensorboard import LOGS, TensorBoard
from tinygrad_cnn.train.training_run import TrainingRun

__all__ = [
    "AUGMENTATIONS",
    "LOGS",
    "METRICS",
    "OPTIMIZERS",
    "RECIPES",
    "SCHEDULES",
    "Accuracy",
    "BestWeights",
    "Callback",
    "Checkpoint",
    "DataSettings",
    "EarlyStopping",
    "Epoch",
    "Evaluation",
    "F1Score",
    "History",
    "JSONLines",
    "JaccardIndex",
    "Metric",
    "ModelFileError",
    "ModelSettings",
    "Precision",
    "Progress",
    "Recall",
    "RunError",
    "RunFolder",
    "RunSettings",
    "TensorBoard",
    "TopKAccuracy",
    "TrainedModel",
    "TrainingDiverged",
    "TrainingInterrupted",
    "TrainingRun",
    "TrainingSettings",
    "evaluate",
    "fit",
    "load_run",
    "plot_history",
    "recipe",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
