"""Meta-learning: gradients through an inner step of gradient descent."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Learner(nn.Module):
    """A net whose forward takes its weights."""

    def __init__(self, shapes):
        super(Learner, self).__init__()
        self.vars = nn.ParameterList()
        for shape in shapes:
            self.vars.append(nn.Parameter(torch.zeros(*shape)))

    def forward(self, x, vars=None):
        if vars is None:
            vars = self.vars
        x = F.conv2d(x, vars[0], vars[1], stride=2, padding=1)
        x = F.softplus(x)
        x = F.batch_norm(x, None, None, vars[2], vars[3], training=True)
        x = x.view(x.size(0), -1)
        return F.linear(x, vars[4], vars[5])

    def parameters(self):
        return self.vars


def run(given):
    shapes = [(4, 1, 3, 3), (4,), (4,), (4,), (3, 36), (3,)]
    net = given.weights(Learner(shapes))
    meta_optim = torch.optim.Adam(net.parameters(), lr=1e-3)
    update_lr, update_step = 0.1, 2
    log = []
    for step in range(10):
        losses_q = []
        corrects = 0
        for task in range(2):
            x_spt, y_spt = given.randn(3, 1, 6, 6), torch.tensor([0, 1, 2])
            x_qry, y_qry = given.randn(4, 1, 6, 6), given.randint(0, 3, (4,))
            fast_weights = list(net.parameters())
            for k in range(update_step):
                loss = F.cross_entropy(net(x_spt, fast_weights), y_spt)
                grad = torch.autograd.grad(loss, fast_weights, create_graph=True)
                fast_weights = list(map(lambda p: p[1] - update_lr * p[0], zip(grad, fast_weights)))
            logits_q = net(x_qry, fast_weights)
            losses_q.append(F.cross_entropy(logits_q, y_qry))
            with torch.no_grad():
                pred_q = F.softmax(logits_q, dim=1).argmax(dim=1)
                corrects += torch.eq(pred_q, y_qry).sum().item()
        loss_q = sum(losses_q) / 2
        meta_optim.zero_grad()
        loss_q.backward()
        if step == 0:
            given.gradients("first gradient", net)
        meta_optim.step()
        log.append([loss_q.item(), corrects])
    given.record("log", log)
