"""Dataset classes: transforms, collate_fn, subsets, samplers, concatenation."""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, random_split
from torch.utils.data.sampler import SubsetRandomSampler, WeightedRandomSampler


class Rescale(object):
    """Keep every k-th pixel."""

    def __init__(self, k):
        assert isinstance(k, int)
        self.k = k

    def __call__(self, sample):
        image, landmarks = sample["image"], sample["landmarks"]
        return {"image": image[:: self.k, :: self.k], "landmarks": landmarks / self.k}


class ToTensor(object):
    """Convert ndarrays in sample to Tensors: H x W x C to C x H x W."""

    def __call__(self, sample):
        image, landmarks = sample["image"], sample["landmarks"]
        image = image.transpose((2, 0, 1))
        return {"image": torch.from_numpy(image.copy()), "landmarks": torch.from_numpy(landmarks)}


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, sample):
        for t in self.transforms:
            sample = t(sample)
        return sample


class FaceLandmarksDataset(Dataset):
    """Face Landmarks dataset."""

    def __init__(self, images, landmarks, transform=None):
        self.images = images
        self.landmarks = landmarks
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, idx):
        if torch.is_tensor(idx):
            idx = idx.tolist()
        sample = {"image": self.images[idx], "landmarks": self.landmarks[idx]}
        if self.transform:
            sample = self.transform(sample)
        return sample


def pad_collate(batch):
    """Stack sequences of unequal lengths."""
    longest = max(len(words) for words, _ in batch)
    words = torch.zeros(len(batch), longest, dtype=torch.long)
    for i, (sequence, _) in enumerate(batch):
        words[i, : len(sequence)] = torch.tensor(sequence)
    labels = torch.tensor([label for _, label in batch], dtype=torch.long)
    return words, labels


def run(given):
    images = given.rand(10, 12, 12, 3).numpy()
    landmarks = given.rand(10, 4, 2).numpy()
    dataset = FaceLandmarksDataset(images, landmarks, Compose([Rescale(2), ToTensor()]))
    sample = dataset[torch.tensor(3)]
    given.record("sizes", [list(sample["image"].size()), [4, 2, 0]])
    loader = DataLoader(dataset, batch_size=4, shuffle=False, num_workers=0, drop_last=False)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8))
    net = given.weights(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    for epoch in range(4):
        for i_batch, sample_batched in enumerate(loader):
            out = net(sample_batched["image"])
            loss = nn.SmoothL1Loss()(out, sample_batched["landmarks"].view(-1, 8))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append([loss.item(), i_batch, len(out)])
    given.record("losses", losses)

    texts = [([3, 1], 0), ([5, 2, 4], 1), ([7], 1), ([1, 1, 1, 1], 0)]
    words, labels = next(iter(DataLoader(texts, batch_size=3, collate_fn=pad_collate)))
    given.record("words", words)
    given.record("labels", labels)

    # splits cover everything once
    first, second = random_split(dataset, [7, 3], generator=torch.Generator().manual_seed(42))
    given.record("split", sorted(list(first.indices) + list(second.indices)))
    both = ConcatDataset([Subset(dataset, [0, 2]), Subset(dataset, [5])])
    total = sum(batch["image"].sum().item() for batch in DataLoader(both, batch_size=2))
    given.record("concatenated", [len(both), total])
    indices = list(range(len(dataset)))
    np.random.seed(0)
    np.random.shuffle(indices)
    seen = 0
    for batch in DataLoader(dataset, batch_size=5, sampler=SubsetRandomSampler(indices[:6])):
        seen += len(batch["image"])
    given.record("seen", seen)
    weights = [1.0] + [0.0] * 9
    sampler = WeightedRandomSampler(weights, num_samples=4, replacement=True)
    (batch,) = DataLoader(dataset, batch_size=4, sampler=sampler)
    given.record("always the first", batch["landmarks"])
    shuffled = DataLoader(dataset, batch_size=10, shuffle=True)
    given.record("all", sum(b["image"].sum(dim=0) for b in shuffled))
