"""Deep Q-learning on frames: a replay memory, a target net, Huber loss, clipped gradients."""

from collections import deque, namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))


class ReplayMemory(object):
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        """Save a transition."""
        self.memory.append(Transition(*args))

    def sample(self, batch_size, start):
        memory = list(self.memory)
        return [memory[(start + 3 * i) % len(memory)] for i in range(batch_size)]

    def __len__(self):
        return len(self.memory)


class DQN(nn.Module):
    def __init__(self, h, w, outputs):
        super(DQN, self).__init__()
        self.conv1 = nn.Conv2d(3, 6, kernel_size=5, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, kernel_size=3, stride=2, bias=False)
        self.bn2 = nn.BatchNorm2d(8)

        def conv2d_size_out(size, kernel_size=5, stride=2):
            return (size - (kernel_size - 1) - 1) // stride + 1

        convw = conv2d_size_out(conv2d_size_out(w), 3)
        convh = conv2d_size_out(conv2d_size_out(h), 3)
        self.head = nn.Linear(convw * convh * 8, outputs)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.head(x.view(x.size(0), -1))


def run(given):
    BATCH_SIZE, GAMMA, TAU = 4, 0.9, 0.05
    policy_net = given.weights(DQN(14, 12, 3), "policy")
    target_net = DQN(14, 12, 3)
    target_net.load_state_dict(policy_net.state_dict())
    target_net.eval()
    optimizer = optim.RMSprop(policy_net.parameters(), lr=1e-3)
    memory = ReplayMemory(8)
    state = given.randn(1, 3, 14, 12)
    log = []
    for t in range(12):
        with torch.no_grad():
            policy_net.eval()
            # t.max(1) will return the largest column value of each row.
            action = policy_net(state).max(1).indices.view(1, 1)
            policy_net.train()
        reward = torch.tensor([1.0 if t % 3 else -1.0])
        next_state = None if t % 5 == 4 else given.randn(1, 3, 14, 12)
        memory.push(state, action, next_state, reward)
        state = given.randn(1, 3, 14, 12) if next_state is None else next_state
        if len(memory) < BATCH_SIZE:
            continue
        batch = Transition(*zip(*memory.sample(BATCH_SIZE, t)))
        non_final_mask = torch.tensor(
            tuple(map(lambda s: s is not None, batch.next_state)), dtype=torch.bool
        )
        non_final_next_states = torch.cat([s for s in batch.next_state if s is not None])
        state_batch = torch.cat(batch.state)
        action_batch = torch.cat(batch.action)
        reward_batch = torch.cat(batch.reward)

        state_action_values = policy_net(state_batch).gather(1, action_batch)
        next_state_values = torch.zeros(BATCH_SIZE)
        with torch.no_grad():
            next_state_values[non_final_mask] = target_net(non_final_next_states).max(1).values
        expected_state_action_values = (next_state_values * GAMMA) + reward_batch
        loss = F.smooth_l1_loss(state_action_values, expected_state_action_values.unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()
        for param in policy_net.parameters():
            param.grad.data.clamp_(-1, 1)
        optimizer.step()

        # Soft update of the target network's weights
        target_net_state_dict = target_net.state_dict()
        policy_net_state_dict = policy_net.state_dict()
        for key in policy_net_state_dict:
            target_net_state_dict[key] = policy_net_state_dict[key] * TAU + (
                target_net_state_dict[key] * (1 - TAU)
            )
        target_net.load_state_dict(target_net_state_dict)
        log.append([loss.item(), state_action_values.mean().item()])
    given.record("log", log)
    given.record("target head", target_net.head.weight)
