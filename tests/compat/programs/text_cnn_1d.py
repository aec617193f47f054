"""Character CNN with Conv1d, BatchNorm1d and an embedding bag of means."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class CharCNN(nn.Module):
    def __init__(self, vocab_size, embedding_dim, n_filters, filter_sizes, output_dim, pad_idx):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.pad_idx = pad_idx
        self.first = nn.Conv1d(embedding_dim, n_filters, kernel_size=3, padding=1, bias=False)
        self.bn = nn.BatchNorm1d(n_filters)
        self.convs = nn.ModuleList(
            [
                nn.Conv1d(in_channels=n_filters, out_channels=n_filters, kernel_size=fs, dilation=2)
                for fs in filter_sizes
            ]
        )
        self.pool = nn.MaxPool1d(2)
        self.average = nn.AvgPool1d(kernel_size=2, stride=1)
        self.fc = nn.Linear(len(filter_sizes) * n_filters + embedding_dim, output_dim)

    def forward(self, text):
        # text = [batch size, sent len]
        embedded = self.embedding(text)
        mask = (text != self.pad_idx).unsqueeze(-1).type_as(embedded)
        mean = (embedded * mask).sum(1) / mask.sum(1).clamp(min=1)

        x = embedded.permute(0, 2, 1)
        # x = [batch size, emb dim, sent len]
        x = self.average(self.pool(F.relu(self.bn(self.first(x)))))
        conved = [F.leaky_relu(conv(x), 0.01) for conv in self.convs]
        pooled = [conv.max(dim=2)[0] for conv in conved]
        cat = torch.cat(pooled + [mean], dim=1)
        return self.fc(cat)


def binary_accuracy(preds, y):
    rounded_preds = torch.round(torch.sigmoid(preds))
    correct = (rounded_preds == y).float()  # convert into float for division
    acc = correct.sum() / len(correct)
    return acc


def run(given):
    model = given.weights(CharCNN(20, 5, 6, [2, 3], 1, pad_idx=1))
    text = given.randint(0, 20, (4, 16))
    label = given.randint(0, 2, (4,)).double()
    optimizer = torch.optim.Adam(model.parameters())
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
    log = []
    for step in range(10):
        optimizer.zero_grad()
        predictions = model(text).squeeze(1)
        loss = criterion(predictions, label)
        acc = binary_accuracy(predictions, label)
        loss.backward()
        if step == 0:
            given.record("output", predictions)
            given.gradients("first gradient", model)
        optimizer.step()
        log.append([loss.item(), acc.item()])
    given.record("log", log)
