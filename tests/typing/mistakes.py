"""Mistakes that a type checker reports: each line with `wrong` is one error, and no other line."""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg

array = np.ones((3, 4))
tensor = tg.Tensor(array)

tg.relo(tensor)  # wrong
tg.nn.Linaer(4, 2)  # wrong
tg.sigmoid(tensor, 2)  # wrong
tg.conv2d(tensor, tensor, strides=2)  # wrong
tg.softmax(tensor, axis="last")  # wrong
tg.relu(array).backward()  # wrong: an array
np.sinc(tensor)  # wrong: would cut the gradient off
tg.nn.Linear(4, 2)(tensor, tensor)  # wrong
tg.nn.Linear(4, 2).forward()  # wrong
tensor.sum(axis="rows")  # wrong
print(tensor._array)  # wrong: private
