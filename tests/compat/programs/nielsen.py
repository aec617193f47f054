"""Nielsen's network from scratch: sigmoid, SGD by hand on p.data and p.grad."""

import torch


class Network(object):
    def __init__(self, sizes, given):
        self.num_layers = len(sizes)
        self.sizes = sizes
        self.biases = [given.randn(y, 1) for y in sizes[1:]]
        self.weights = [given.randn(y, x) for x, y in zip(sizes[:-1], sizes[1:])]
        for p in self.biases + self.weights:
            p.requires_grad = True

    def feedforward(self, a):
        for b, w in zip(self.biases, self.weights):
            a = torch.sigmoid(torch.matmul(w, a) + b)
        return a

    def SGD(self, training_data, epochs, mini_batch_size, eta, test_data=None):
        n = len(training_data)
        history = []
        for j in range(epochs):
            mini_batches = [
                training_data[k : k + mini_batch_size] for k in range(0, n, mini_batch_size)
            ]
            for mini_batch in mini_batches:
                self.update_mini_batch(mini_batch, eta)
            if test_data:
                history.append(self.evaluate(test_data))
        return history

    def update_mini_batch(self, mini_batch, eta):
        cost = 0
        for x, y in mini_batch:
            cost = cost + 0.5 * ((self.feedforward(x) - y) ** 2).sum()
        cost.backward()
        for p in self.biases + self.weights:
            p.data -= (eta / len(mini_batch)) * p.grad
            p.grad.zero_()

    def evaluate(self, test_data):
        test_results = [(torch.argmax(self.feedforward(x)), y) for (x, y) in test_data]
        return sum(int(x == y) for (x, y) in test_results)


def backprop(net, x, y):
    """Return the gradients of the quadratic cost by the four equations."""
    nabla_b = [torch.zeros(b.shape) for b in net.biases]
    nabla_w = [torch.zeros(w.shape) for w in net.weights]
    with torch.no_grad():
        activation = x
        activations = [x]
        zs = []
        for b, w in zip(net.biases, net.weights):
            z = torch.mm(w, activation) + b
            zs.append(z)
            activation = torch.sigmoid(z)
            activations.append(activation)
        prime = lambda z: torch.sigmoid(z) * (1 - torch.sigmoid(z))
        delta = (activations[-1] - y) * prime(zs[-1])
        nabla_b[-1] = delta
        nabla_w[-1] = torch.mm(delta, activations[-2].t())
        for layer in range(2, net.num_layers):
            delta = torch.mm(net.weights[-layer + 1].T, delta) * prime(zs[-layer])
            nabla_b[-layer] = delta
            nabla_w[-layer] = torch.mm(delta, activations[-layer - 1].T)
    return nabla_b, nabla_w


def run(given):
    net = Network([9, 6, 4], given)
    data = []
    for _ in range(8):
        label = int(given.randint(0, 4, (1,)))
        e = torch.zeros((4, 1))
        e[label] = 1.0
        data.append((given.randn(9, 1), e))
    test_data = [(x, int(torch.argmax(y))) for x, y in data]

    nabla_b, nabla_w = backprop(net, *data[0])
    cost = 0.5 * ((net.feedforward(data[0][0]) - data[0][1]) ** 2).sum()
    cost.backward()
    for i in range(2):
        assert torch.allclose(nabla_w[i], net.weights[i].grad)
        given.record("gradient of weights %d" % i, net.weights[i].grad)
        given.record("gradient of biases %d" % i, net.biases[i].grad)
        net.weights[i].grad = None
        net.biases[i].grad = None
    given.record("correct", net.SGD(data, 5, 4, 3.0, test_data=test_data))
    for i in range(2):
        given.record("weights %d" % i, net.weights[i])
        given.record("biases %d" % i, net.biases[i])
