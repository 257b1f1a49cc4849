"""The page on the playground, with the speeds from docs/results/page.json."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from hourglass.lab.study import markdown

SOURCE = Path(__file__).parents[1] / "docs" / "results" / "page.json"
# Tab, its heading, and what is said of it.
TABS = (
    (
        "denoise",
        "Denoise",
        "Draw a digit with the mouse, a finger or the arrow keys, or choose a test image. Noise of the level that the "
        "slider sets is added, and the package's denoiser of digits removes it. The PSNR of both images is shown. "
        "On demand the page shows the feature maps of every layer; choose a map to see its kernel.",
    ),
    (
        "code",
        "Codes of images",
        "The code of an image as bars (`dense`) or maps (`conv`). Drag a number, and the image follows. Walk in a "
        "straight line from one code to another. On the map of all 1,000 test images, point at one to see it, and "
        "click between them to decode there.",
    ),
    (
        "normalisation",
        "Batch normalisation",
        "Three networks of 5 to 20 layers are trained in the page from the same weights and on the same batches: "
        "without normalisation, with batch normalisation, and with batch normalisation written by hand. Learning rate, "
        "initial weights, activation, depth, batch size and momentum can be changed. The page shows the loss in "
        "training mode, the accuracy in both modes beside 20 recorded runs, and histograms of the numbers and "
        "gradients of every layer. It also classifies 100 images, together and one by one. Each preset shows one "
        "finding of the fourth lesson.",
    ),
    (
        "batch",
        "Inside one batch",
        "The tab normalises eight numbers with their mean and variance, scales and shifts them, and computes the "
        "gradient on its way back. Change one input, and all eight outputs change.",
    ),
    (
        "photograph",
        "Photograph",
        "The package's denoiser of photographs, `photo`, on an image of yours: before and after with a slider between "
        "them, and the result as a PNG file. It finds the level of the noise by itself, or takes it from a slider.",
    ),
    (
        "inspect",
        "Your images",
        "Only on pages that `hourglass inspect` writes: your images on a map of their codes, the most similar ones, "
        "the reconstructions, worst first, with maps of their errors, and what each number of the code does. The "
        "scores are also a table, `scores.csv`.",
    ),
)


def page() -> str:
    """The document."""
    parts = [
        "# The playground\n",
        "The playground lets you try the lessons in the browser. A small engine in WebAssembly computes everything in "
        "the page, on the visitor's own processor. No image leaves the machine, and a server only has to deliver "
        "files. The page is in English and Chinese. Its address records the settings, so that a teacher can share them "
        "as a link.\n",
        "```sh\n"
        "hourglass serve                                       # show the page on this machine\n"
        "hourglass page site/                                  # write it into a folder, for any web host\n"
        "hourglass inspect autoencoder/ images/ --out mine/    # the page with your own images on it\n"
        "hourglass serve mine/\n"
        "```\n",
        "Browsers do not load the parts of a page that is opened as a file; such a page shows the command that serves "
        "it. `serve` listens at 127.0.0.1, which only this machine can reach, unless `--host` says otherwise. The page "
        "has a content-security policy that forbids requests to any other host. Any host that serves files can show "
        "the folder that `page` writes, also in a subfolder of a site.\n",
    ]
    for name, heading, text in TABS:
        parts += [f"## {heading}\n", f"{text}\n", f"![The tab “{heading}”](playground/{name}-light.png)\n"]
    parts += [
        "## Speed\n",
        speed(json.loads(SOURCE.read_text(encoding="utf-8"))) + "\n",
        "## The engine\n",
        "`web/engine/` is freestanding C, which clang compiles to WebAssembly with SIMD instructions (`scripts/web`). "
        "The built file is committed with its checksum, and a test builds it again where the compiler is installed. It "
        "has one product of matrices, on which convolutions and dense layers are built; activations, pooling, "
        "enlarging, batch normalisation in both modes, sigmoid cross-entropy, squared error, TensorFlow's Adam and "
        "gradient descent. The modules around it are plain JavaScript whose types TypeScript checks (`scripts/web "
        "types`).\n",
        "Tests compare it with the package: from the same weights and batches, outputs agree to 10⁻⁵ and gradients to "
        "10⁻⁴ of a tensor's largest value in float32, which the page uses. Compiled for float64, the losses of 20 "
        "steps of all six networks agree to 10⁻⁶. In float32, rounding errors in the normalised networks grow "
        "about tenfold with each step, so that two correct programs differ after fifteen steps. The denoiser of "
        "photographs gives PyTorch's result, with its weights rounded to 16 bits.\n",
    ]
    parts += [
        "## Data\n",
        "The digits are MNIST's, by Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0: 4,000 training images, which the "
        "page trains on, and the first 1,000 test images. The example photograph is by Rachel Michetti, CC0.\n",
    ]
    return "\n".join(parts)


def speed(found: dict[str, Any]) -> str:
    """What was measured, as sentences and a table."""
    one, three = median(found["one_network_s"]), median(found["three_networks_s"])
    steps = found["steps"]
    rows = [
        ["what", "time", "median of"],
        [
            "from a stroke to the denoised digit, computation only",
            f"{found['computing_ms']:.1f} ms",
            f"{found['strokes']} strokes",
        ],
        [
            "from a stroke to the denoised digit, until it is on the screen",
            f"{found['shown_ms']:.0f} ms",
            f"{found['strokes']} strokes",
        ],
        [
            f"{steps} steps of the 20-layer network with batch normalisation, batches of 64",
            f"{one:.1f} s",
            f"{len(found['one_network_s'])} trainings",
        ],
        [
            f"{steps} steps of all three networks of the preset at once",
            f"{three:.1f} s",
            f"{len(found['three_networks_s'])} trainings",
        ],
        ["a colour photograph of 512 × 512 pixels", f"{found['photograph_s']:.2f} s", "5 photographs"],
    ]
    return (
        f"Measured in {found['browser']} on {found['cores']} cores of {found['processor']} on {found['date']} by "
        f"`tools/measure_page.py`. One network learns from {steps * 64 / one:,.0f} images a second, evaluations "
        f"included. The whole page is "
        f"{found['bytes'] / 1e6:.1f} MB, compressed.\n\n{markdown(rows)}"
    )
