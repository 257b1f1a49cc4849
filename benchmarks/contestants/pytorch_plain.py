"""The networks as PyTorch's own tutorials would write them: ``nn.Module``, ``DataLoader``, ``torch.optim.Adam``."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from protocol import NOISE, Contestant, serve


class ConvAutoencoder(nn.Module):
    """Convolution and pooling down, nearest-neighbour resize and convolution up."""

    def __init__(self, channels):
        super().__init__()
        pairs = itertools.pairwise((1, *channels))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        pairs = itertools.pairwise((channels[-1], *channels[::-1]))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.last = nn.Conv2d(channels[0], 1, 3, padding=1)

    def encode(self, x):
        """Images to maps of the code."""
        for conv in self.down:
            x = F.max_pool2d(F.relu(conv(x)), 2, ceil_mode=True)
        return x

    def forward(self, x):
        sizes = []
        for conv in self.down:
            sizes.append(x.shape[2:])
            x = F.max_pool2d(F.relu(conv(x)), 2, ceil_mode=True)
        for conv in self.up:
            x = F.relu(conv(F.interpolate(x, size=sizes.pop(), mode="nearest")))
        return self.last(x)


class WrittenOut(nn.Module):
    """Batch normalisation from moments and moving averages."""

    def __init__(self, channels):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x):
        axes = [0, 2, 3] if x.dim() == 4 else [0]
        shape = (1, -1, 1, 1) if x.dim() == 4 else (1, -1)
        if self.training:
            mean, variance = x.mean(axes), x.var(axes, unbiased=False)
            with torch.no_grad():
                self.mean.mul_(0.99).add_(0.01 * mean)
                self.variance.mul_(0.99).add_(0.01 * variance)
        else:
            mean, variance = self.mean, self.variance
        x = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + 1e-3)
        return x * self.gamma.view(shape) + self.beta.view(shape)


def deep_network(norm):
    """Nineteen convolutions, two dense layers."""
    layers, size, before = [], 28, 1

    def normalise(channels, two_d):
        if norm == "bn-layer":
            return [(nn.BatchNorm2d if two_d else nn.BatchNorm1d)(channels, eps=1e-3, momentum=0.01)]
        return [WrittenOut(channels)] if norm == "bn-manual" else []

    for d in range(1, 20):
        stride = 2 if d % 3 == 0 else 1
        # TensorFlow's 'same' pads after even sizes alone.
        even = stride == 2 and size % 2 == 0
        layers += [nn.ZeroPad2d((0, 1, 0, 1))] if even else []
        layers.append(nn.Conv2d(before, 4 * d, 3, stride, 0 if even else 1, bias=norm == "bn-none"))
        layers += [*normalise(4 * d, True), nn.ReLU()]
        size, before = -(-size // stride), 4 * d
    layers += [nn.Flatten(), nn.Linear(before, 100, bias=norm == "bn-none"), *normalise(100, False), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(100, 10))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            truncated = norm == "bn-manual" and isinstance(module, nn.Conv2d)
            nn.init.trunc_normal_(module.weight, 0, 0.05, -0.1, 0.1) if truncated else nn.init.xavier_uniform_(
                module.weight
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


class PlainPyTorch(Contestant):
    """The usual training loop."""

    def __init__(self, workload, data):
        super().__init__(workload, data)
        images = torch.from_numpy(self.images).permute(0, 3, 1, 2).contiguous()
        self.dataset = TensorDataset(images, torch.from_numpy(self.labels))

    def reset(self, seed):
        torch.manual_seed(seed)
        name = self.workload.name
        if name == "dense":
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU())
            self.network = nn.Sequential(self.encoder, nn.Linear(32, 784), nn.Unflatten(1, (1, 28, 28)))
            self.network.apply(lambda m: nn.init.xavier_uniform_(m.weight) if isinstance(m, nn.Linear) else None)
        elif self.workload.classifies:
            self.network = deep_network(name)
        else:
            self.network = ConvAutoencoder(self.workload.channels)
            self.encoder = self.network.encode
            self.network.apply(lambda m: nn.init.xavier_uniform_(m.weight) if isinstance(m, nn.Conv2d) else None)
        self.optimiser = torch.optim.Adam(self.network.parameters(), self.workload.learning_rate)
        loader = DataLoader(self.dataset, self.workload.batch, shuffle=True, drop_last=True)
        self.batches = iter(itertools.chain.from_iterable(itertools.repeat(loader)))
        self.network.train()

    def step(self):
        images, labels = next(self.batches)
        inputs = images
        if self.workload.name == "denoise":
            inputs = (images + NOISE * torch.randn_like(images)).clamp(0, 1)
        loss = F.binary_cross_entropy_with_logits(self.network(inputs), labels if self.workload.classifies else images)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    @torch.inference_mode()
    def reconstruct(self, images):
        return self.in_pieces(lambda piece: torch.sigmoid(self.network.eval()(piece)), images)

    @torch.inference_mode()
    def encode(self, images):
        return self.in_pieces(self.encoder, images)

    def in_pieces(self, function, images):
        x = torch.from_numpy(images).permute(0, 3, 1, 2)
        return torch.cat([function(piece) for piece in x.split(1000)]).numpy()


serve(PlainPyTorch)
