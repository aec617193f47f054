"""Domain adaptation: a gradient reversal written as an autograd Function."""

import numpy as np
import torch
import torch.nn as nn
from torch.autograd import Function


class ReverseLayerF(Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        output = grad_output.neg() * ctx.alpha
        return output, None


class CNNModel(nn.Module):
    def __init__(self):
        super(CNNModel, self).__init__()
        self.feature = nn.Sequential()
        self.feature.add_module("f_conv1", nn.Conv2d(3, 6, kernel_size=3, bias=False))
        self.feature.add_module("f_bn1", nn.BatchNorm2d(6))
        self.feature.add_module("f_pool1", nn.MaxPool2d(2))
        self.feature.add_module("f_relu1", nn.ReLU(True))
        self.feature.add_module("f_drop1", nn.Dropout2d(0.0))

        self.class_classifier = nn.Sequential()
        self.class_classifier.add_module("c_fc1", nn.Linear(6 * 4 * 4, 12))
        self.class_classifier.add_module("c_relu1", nn.ReLU(True))
        self.class_classifier.add_module("c_fc2", nn.Linear(12, 5))
        self.class_classifier.add_module("c_softmax", nn.LogSoftmax(dim=1))

        self.domain_classifier = nn.Sequential()
        self.domain_classifier.add_module("d_fc1", nn.Linear(6 * 4 * 4, 8))
        self.domain_classifier.add_module("d_relu1", nn.ReLU(True))
        self.domain_classifier.add_module("d_fc2", nn.Linear(8, 2))
        self.domain_classifier.add_module("d_softmax", nn.LogSoftmax(dim=1))

    def forward(self, input_data, alpha):
        input_data = input_data.expand(input_data.data.shape[0], 3, 10, 10)
        feature = self.feature(input_data)
        feature = feature.view(-1, 6 * 4 * 4)
        reverse_feature = ReverseLayerF.apply(feature, alpha)
        class_output = self.class_classifier(feature)
        domain_output = self.domain_classifier(reverse_feature)
        return class_output, domain_output


def run(given):
    my_net = given.weights(CNNModel())
    optimizer = torch.optim.Adam(my_net.parameters(), lr=1e-3)
    loss_class = torch.nn.NLLLoss()
    loss_domain = torch.nn.NLLLoss()
    for p in my_net.parameters():
        p.requires_grad = True
    s_img, s_label = given.rand(4, 1, 10, 10), given.randint(0, 5, (4,))
    t_img = given.rand(3, 3, 10, 10)
    log = []
    for i in range(10):
        p = float(i) / 10
        alpha = 2.0 / (1.0 + np.exp(-10 * p)) - 1
        my_net.zero_grad()
        batch_size = len(s_label)
        domain_label = torch.zeros(batch_size).long()
        class_output, domain_output = my_net(input_data=s_img, alpha=alpha)
        err_s_label = loss_class(class_output, s_label)
        err_s_domain = loss_domain(domain_output, domain_label)
        domain_label = torch.ones(len(t_img)).long()
        _, domain_output = my_net(input_data=t_img, alpha=alpha)
        err_t_domain = loss_domain(domain_output, domain_label)
        err = err_t_domain + err_s_domain + err_s_label
        err.backward()
        if i == 3:
            given.gradients("gradient at 3", my_net)
        optimizer.step()
        log.append([err_s_label.item(), err_s_domain.item(), err_t_domain.item()])
    given.record("log", log)
