"""Linear regression from scratch and with layers: a data iterator, sgd, squared loss."""

import torch
from torch import nn
from torch.utils import data


def synthetic_data(w, b, X, noise):
    """Generate y = Xw + b + noise."""
    y = torch.matmul(X, w) + b
    y += noise * 0.01
    return X, y.reshape((-1, 1))


def data_iter(batch_size, features, labels):
    num_examples = len(features)
    indices = list(range(num_examples))
    for i in range(0, num_examples, batch_size):
        batch_indices = torch.tensor(indices[i : min(i + batch_size, num_examples)])
        yield features[batch_indices], labels[batch_indices]


def linreg(X, w, b):
    return torch.matmul(X, w) + b


def squared_loss(y_hat, y):
    return (y_hat - y.reshape(y_hat.shape)) ** 2 / 2


def sgd(params, lr, batch_size):
    """Minibatch stochastic gradient descent."""
    with torch.no_grad():
        for param in params:
            param -= lr * param.grad / batch_size
            param.grad.zero_()


def load_array(data_arrays, batch_size, is_train=True):
    dataset = data.TensorDataset(*data_arrays)
    return data.DataLoader(dataset, batch_size, shuffle=is_train)


def run(given):
    true_w = torch.tensor([2, -3.4])
    true_b = 4.2
    features, labels = synthetic_data(true_w, true_b, given.randn(50, 2), given.randn(50))

    w = (given.randn(2, 1) * 0.01).requires_grad_(True)
    b = torch.zeros(1, requires_grad=True)
    net, loss = linreg, squared_loss
    history = []
    for epoch in range(3):
        for X, y in data_iter(10, features, labels):
            batch = loss(net(X, w, b), y)
            batch.sum().backward()
            sgd([w, b], 0.1, 10)
        with torch.no_grad():
            train_l = loss(net(features, w, b), labels)
            history.append(float(train_l.mean()))
    given.record("history", history)
    given.record("w", w)
    given.record("b", b)
    given.record("errors", true_w - w.reshape(true_w.shape))

    # the same with layers
    iterator = load_array((features, labels), 10, is_train=False)
    model = nn.Sequential(nn.Linear(2, 1))
    model[0].weight.data.normal_(0, 0.01)
    model[0].bias.data.fill_(0)
    given.weights(model)
    mse = nn.MSELoss()
    trainer = torch.optim.SGD(model.parameters(), lr=0.03)
    concise = []
    for epoch in range(3):
        for X, y in iterator:
            mean = mse(model(X), y)
            trainer.zero_grad()
            mean.backward()
            trainer.step()
        concise.append(mse(model(features), labels).item())
    given.record("concise", concise)

    # ridge regression: a penalty written out
    w = torch.ones((2, 1), requires_grad=True)
    for X, y in next(iter([list(iterator)])):
        penalized = squared_loss(linreg(X, w, b.detach()), y).mean() + 3 * torch.sum(w.pow(2)) / 2
        penalized.backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
        w.grad.zero_()
    given.record("ridge", w)
