"""A convnet for text: an embedding, convolutions of several widths, and the maximum over time.

Each filter looks for a phrase of two to four words; the maximum says whether it occurs anywhere
(Kim, 2014). A small grammar makes the sentences. Each has a word of praise, one of blame and a
"not", so that only their order decides. Run it from the repository:

    python examples/text_cnn.py

It prints the loss, the accuracy on further sentences beside that of a bag of words, and the classes
of some sentences.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

WORDS = [
    "<pad>", "the", "film", "story", "music", "cast", "was", "and", "but", "not", "very", "really",
    "quite", "good", "great", "lovely", "bad", "dull", "awful",
]  # fmt: skip
INDEX = {word: index for index, word in enumerate(WORDS)}
LENGTH = 10
POSITIVE, NEGATIVE = ("good", "great", "lovely"), ("bad", "dull", "awful")


def sentence(rng: np.random.Generator) -> tuple[list[str], int]:
    """Return a review and its class: 1 if it praises."""

    def adjective(words: Sequence[str]) -> list[str]:
        adverb = [str(rng.choice(("very", "really", "quite")))] if rng.integers(2) else []
        return [*adverb, str(rng.choice(words))]

    praises = int(rng.integers(2))
    true, denied = (POSITIVE, NEGATIVE) if praises else (NEGATIVE, POSITIVE)
    if rng.integers(2):
        verdict = [*adjective(true), "and", "not", *adjective(denied)]
    else:
        verdict = ["not", *adjective(denied), "but", *adjective(true)]
    return ["the", str(rng.choice(("film", "story", "music", "cast"))), "was", *verdict], praises


def encode(sentences: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the indices of the words, filled up with padding: (N, LENGTH)."""
    indices = np.zeros((len(sentences), LENGTH), np.int64)
    for row, words in zip(indices, sentences, strict=True):
        row[: len(words)] = [INDEX[word] for word in words]
    return indices


def batch(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return encoded sentences and their classes."""
    drawn = [sentence(rng) for _ in range(count)]
    return encode([words for words, _ in drawn]), np.array([praises for _, praises in drawn])


class TextCNN(nn.Module):
    """Convolutions over the words' vectors; dropout before the linear layer."""

    def __init__(self, size: int = 16, filters: int = 8, widths: tuple[int, ...] = (2, 3, 4)):
        self.embedding = nn.Embedding(len(WORDS), size, padding_idx=0)
        self.convolutions = nn.ModuleList([nn.Conv1d(size, filters, width) for width in widths])
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(filters * len(widths), 2)

    def forward(self, words: np.ndarray) -> tg.Tensor:
        """Return logits, (N, 2), for indices of words, (N, LENGTH)."""
        x = self.embedding(words).transpose(0, 2, 1)  # (N, size, LENGTH)
        found = [tg.relu(conv(x)).max(axis=2) for conv in self.convolutions]  # (N, filters) each
        return self.fc(self.dropout(tg.concatenate(found, axis=1)))


class BagOfWords(nn.Module):
    """The sum of the words' vectors, and a linear layer: it cannot see the order."""

    def __init__(self, size: int = 16) -> None:
        self.embedding = nn.Embedding(len(WORDS), size, padding_idx=0)
        self.fc = nn.Linear(size, 2)

    def forward(self, words: np.ndarray) -> tg.Tensor:
        """Return logits, (N, 2)."""
        return self.fc(self.embedding(words).sum(axis=1))


def train(model: nn.Module, steps: int) -> tuple[list[float], float]:
    """Return the losses, and the accuracy on further sentences."""
    rng = np.random.default_rng(0)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    losses: list[float] = []
    for _ in range(steps):
        words, classes = batch(32, rng)
        loss = tg.cross_entropy(model(words), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    words, classes = batch(1000, rng)
    model.eval()
    with tg.no_grad():
        right = model(words).numpy().argmax(axis=1) == classes
    return losses, float(right.mean())


def main(steps: int = 200) -> dict[str, tuple[list[float], float]]:
    """Return the losses and the accuracy of both models."""
    tg.manual_seed(0)
    models: dict[str, nn.Module] = {"bag of words": BagOfWords(), "text CNN": TextCNN()}
    results = {name: train(model, steps) for name, model in models.items()}
    for name, (losses, accuracy) in results.items():
        print(f"{name:13} loss {losses[0]:.2f} -> {losses[-1]:.2f}   accuracy {accuracy:.1%}")
    for text in (
        "the music was good and not bad",
        "the music was not very good but bad",
        "the music was not bad but really good",
    ):
        with tg.no_grad():
            k = int(models["text CNN"](encode([text.split()])).numpy().argmax())
        print(f"{text!r}: {('critical', 'praise')[k]}")
    return results


if __name__ == "__main__":
    main()
