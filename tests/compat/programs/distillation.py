"""Knowledge distillation: KL divergence at a temperature, hints from a hidden layer."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Student(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(width * 16, 5)

    def forward(self, x, return_features=False):
        f = self.pool(F.gelu(self.conv(x)))
        logits = self.fc(f.reshape(x.size(0), -1))
        return (logits, f) if return_features else logits


def distill(student_logits, teacher_logits, labels, T=4.0, alpha=0.9):
    soft = nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(student_logits / T, dim=1), F.softmax(teacher_logits / T, dim=1)
    ) * (alpha * T * T)
    return soft + F.cross_entropy(student_logits, labels) * (1.0 - alpha)


def attention_map(f):
    return F.normalize(f.pow(2).mean(1).view(f.size(0), -1))


def run(given):
    teacher = given.weights(Student(8), "teacher")
    student = given.weights(Student(3), "student")
    regressor = given.weights(nn.Conv2d(3, 8, 1), "regressor")
    teacher.eval()
    x, y = given.randn(4, 1, 8, 8), given.randint(0, 5, (4,))
    params = list(student.parameters()) + list(regressor.parameters())
    optimizer = torch.optim.Adam(params, lr=5e-3, amsgrad=False)
    log = []
    for step in range(10):
        with torch.no_grad():
            teacher_logits, teacher_f = teacher(x, return_features=True)
        logits, f = student(x, return_features=True)
        kd = distill(logits, teacher_logits, y)
        hint = F.smooth_l1_loss(regressor(f), teacher_f)
        attention = (attention_map(f) - attention_map(teacher_f)).pow(2).mean()
        cosine = nn.CosineEmbeddingLoss()(
            regressor(f).flatten(1), teacher_f.flatten(1), torch.ones(len(x))
        )
        loss = kd + hint + 100 * attention + 0.1 * cosine
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.append([kd.item(), hint.item(), attention.item(), cosine.item()])
    given.record("log", log)
    given.record("agreement", (student(x).argmax(-1) == teacher_logits.argmax(-1)).sum())
