"""Text CNN: convolutions over word vectors, of several heights, max over time."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class CNN_Text(nn.Module):
    def __init__(self, embed_num, embed_dim, class_num, kernel_num, kernel_sizes, dropout, static):
        super(CNN_Text, self).__init__()
        self.embed = nn.Embedding(embed_num, embed_dim, padding_idx=0)
        self.convs = nn.ModuleList([nn.Conv2d(1, kernel_num, (K, embed_dim)) for K in kernel_sizes])
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(len(kernel_sizes) * kernel_num, class_num)
        if static:
            self.embed.weight.requires_grad = False

    def forward(self, x):
        x = self.embed(x)  # (N, W, D)
        x = x.unsqueeze(1)  # (N, Ci, W, D)
        x = [F.relu(conv(x)).squeeze(3) for conv in self.convs]  # [(N, Co, W), ...]*len(Ks)
        x = [F.max_pool1d(i, i.size(2)).squeeze(2) for i in x]  # [(N, Co), ...]*len(Ks)
        x = torch.cat(x, 1)
        x = self.dropout(x)  # (N, len(Ks)*Co)
        logit = self.fc1(x)  # (N, C)
        return logit


def run(given):
    model = given.weights(CNN_Text(30, 6, 3, 4, [2, 3, 4], 0.0, static=False))
    frozen = given.weights(CNN_Text(30, 6, 3, 4, [3], 0.0, static=True), "static")
    words, target = given.randint(0, 30, (4, 9)), given.randint(0, 3, (4,))
    words[1, 6:] = 0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    other = torch.optim.Adam([p for p in frozen.parameters() if p.requires_grad], lr=0.01)
    losses, correct = [], []
    model.train()
    for steps in range(1, 11):
        optimizer.zero_grad()
        logit = model(words)
        loss = F.cross_entropy(logit, target)
        loss.backward()
        if steps == 1:
            given.gradients("first gradient", model)
        optimizer.step()
        other.zero_grad()
        second = F.cross_entropy(frozen(words), target)
        second.backward()
        other.step()
        corrects = (torch.max(logit, 1)[1].view(target.size()).data == target.data).sum()
        correct.append(100.0 * corrects.item() / len(words))
        losses.append([loss.item(), second.item()])
    given.record("losses", losses)
    given.record("accuracy", correct)
