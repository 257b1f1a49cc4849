// @ts-check
/** The texts of the page in English. */

/** @type {Record<string, string>} */
export const texts = {
  playground: "playground",
  theme: "Light or dark",
  failed: "This part could not be loaded:",

  "tab denoise": "Denoise",
  "lead denoise":
    "Draw a digit, or choose one. The page adds noise to it, and a convolutional network removes the noise. The network was trained on pairs of noisy and clean digits. Everything is computed in this page; no image leaves your machine.",
  "draw here": "Draw here with the mouse, a finger, or the keys (arrows move the pen, Space puts it down)",
  noisy: "With noise",
  denoised: "Denoised",
  "noise level": "Noise level (standard deviation; black is 0, white is 1)",
  "new noise": "New noise",
  clear: "Clear",
  "test images": "Test images, which the network has not seen in training",
  "test image": "Test image {index}, digit {label}",
  "all maps": "What every layer computes",
  "touch a map": "Choose a map to see the kernel that computed it.",
  maps: "{channels} maps of {height} × {width}",
  map: "{name}, map {i}",
  "kernel of": "Kernel of {name}, map {i}: one square of weights for each of its {inputs} inputs",
  "kernel colours": "Orange is positive, blue is negative; the strongest colour is ±{largest}.",
  "layer encoder": "encoder, stage {number}",
  "layer decoder": "decoder, stage {number}",
  "layer joined": "stage {number}, maps of decoder and encoder joined",
  "layer code": "code (innermost layer)",
  "layer output": "output, before the sigmoid",

  "tab code": "Codes of images",
  "lead code":
    "An autoencoder squeezes an image into a few numbers, its code, and reconstructs the image from these numbers alone. Change the numbers, and see what each of them does.",
  autoencoder: "Autoencoder",
  "dense autoencoder": "dense: 784 pixels → 32 numbers",
  "convolutional autoencoder": "convolutional: 784 pixels → 4 × 4 × 8 numbers",
  original: "Original",
  decoded: "Decoded",
  "decoded from": "Decoded from {size} numbers; PSNR {value} dB (higher is closer to the original)",
  code: "Code",
  number: "Number {i} of the code",
  cell: "Feature map {map}, row {row}, column {column}",
  "map of code": "Feature map {i} of the code",
  "previous number": "Previous number",
  "next number": "Next number",
  "choose image": "Choose an image",
  walk: "Walk to another image",
  "walk explained":
    "Choose a second image, and drag the slider: the code moves in a straight line from one image's code to the other's.",
  way: "Position between the two",
  "map of codes": "The map of codes",
  "map explained":
    "Each point is a test image, coloured by its digit. Images with similar codes lie near each other (placed by t-SNE, which draws long codes as points in a plane; the network was never told the digits). Point at an image to see it. Click anywhere, or move with the arrow keys, to decode the mean code of the five images nearest to that place.",
  "point at": "Point at an image",
  "decoded here": "Decoded at the square",

  "tab batch": "Inside one batch",
  "lead batch":
    "One channel of a network has these values for a batch of eight images. Batch normalisation subtracts their mean and divides by their standard deviation, then multiplies by γ and adds β. The gradient with respect to y would come from the layers that follow; here you set it. Change any number.",
  "image number": "Image",
  "row x": "Input x",
  "row normalised": "Normalised x̂",
  "row output": "Output y = γ x̂ + β",
  "row gradient": "Gradient of the loss with respect to y",
  "row ofInput": "Gradient of the loss with respect to x",
  "x of": "Input x of image {i}",
  "gradient of": "Gradient of the loss with respect to y of image {i}",
  gamma: "Scale γ",
  beta: "Shift β",
  moments:
    "Mean μ = {mean}, variance σ² = {variance}; gradient of the loss with respect to γ: {ofGamma}, to β: {ofBeta}.",
  lines: "The numbers of each row as points, with their mean and standard deviation",
  "batch explained":
    "The line marks the mean, and the band is one standard deviation on each side. Change one x: all eight outputs change, because the mean and the variance change. The eight gradients with respect to x always sum to 0, because adding the same number to all inputs changes no output. (ε = 0.001 is added to the variance before the root is taken.)",

  "tab normalisation": "Batch normalisation",
  "lead normalisation":
    "Three networks that classify digits are trained in this page, from the same initial weights and on the same batches. Only their normalisation differs. Choose a preset, and press “Run”.",
  presets: "Presets:",
  "preset 20 layers": "20 layers",
  "preset learning rate 1": "learning rate 1",
  "preset momentum 0.99 after 100 steps": "momentum 0.99 after 100 steps",
  "preset a batch of 2": "a batch of 2",
  layers: "Number of layers",
  "learning rate": "Learning rate",
  "batch size": "Batch size (images)",
  momentum: "Momentum of the moving averages (share that is kept)",
  deviation: "Standard deviation of the initial weights",
  optimiser: "Optimiser",
  "optimiser adam": "Adam",
  "optimiser sgd": "SGD",
  start: "Initial weights",
  "start glorot": "Glorot",
  "start he": "He",
  "start deviation": "normal, with a chosen standard deviation",
  activation: "Activation",
  "activation relu": "ReLU",
  "activation sigmoid": "sigmoid",
  "activation tanh": "tanh",
  run: "Run",
  pause: "Pause",
  "one step": "One step",
  again: "Start again",
  "one by one": "Classify 100 images, together and one by one",
  "failed training": "The training stopped:",
  "norm none": "without normalisation",
  "norm batch": "batch normalisation",
  "norm batch-manual": "batch normalisation, written by hand",
  status: "{name}: step {step}, {speed} images/s;",
  answer:
    "{name}, 100 test images. Inference mode: {together} are right when they are classified together, and {same} get the same answer when they are classified one at a time. Training mode: {batch} are right together, and {alone} one at a time.",
  "accuracy of": "Accuracy on 256 test images",
  mode: "Scores of the test images in",
  "inference mode": "inference mode (moving averages of mean and variance)",
  "training mode": "training mode (mean and variance of the batch)",
  "loss of":
    "Loss on these test images (thick), and on the training batches (thin: mean over 10 steps, in training mode)",
  "accuracy chart": "Accuracy by step, a line for each network",
  "loss chart": "Loss by step, a line for each network",
  step: "step",
  "recorded explained":
    "Thick lines show the networks that are trained in this page, on 4,000 images. Faint lines of accuracy are recorded runs from the package's batch-normalisation lab, 20 for each network: trained on 55,000 images of MNIST, with the accuracy on 500 others. They are shown only while your settings are the same as theirs.",
  "layer by layer": "Layer by layer",
  "layers explained":
    "Each row is a layer: the first convolution at the top, the output at the bottom. Sizes (absolute values) grow from left to right; four columns are a factor of 10. The stronger the colour of a cell, the more numbers are in it. Choose the preset “20 layers” and take one step: without normalisation the numbers shrink from layer to layer, and the gradients shrink further on their way back, from the bottom row to the top.",
  numbers: "Numbers before each activation, first layer at the top",
  gradients: "Gradients of the loss with respect to them",
  "histogram numbers": "Histograms of the sizes of the numbers, layer by layer",
  "histogram gradients": "Histograms of the sizes of the gradients, layer by layer",

  "tab photograph": "Photograph",
  "lead photograph":
    "A larger network, the package's default denoiser, removes noise from photographs. Your photograph stays in this page: it is not sent anywhere.",
  "choose photograph": "Choose a photograph",
  example: "Try an example with noise",
  drop: "or drop one here.",
  "no photograph": "No photograph yet.",
  reading: "Reading {name} …",
  "no image": "{name} is not an image that this browser can read. Try PNG, JPEG or WebP.",
  "too large":
    "{name} has {megapixels} million pixels, and this page takes at most {most} million. The command “hourglass denoise” takes any size.",
  working: "Denoising … {percent}%",
  restored: "{width} × {height} pixels, denoised in {seconds} s at noise level {level} (white is 1).",
  "photograph failed": "The photograph could not be denoised: {message}",
  divider: "Before on the left, after on the right",
  "level of photograph": "Noise level, estimated from the photograph; higher is smoother",
  before: "Before",
  after: "After",
  save: "Save as PNG",
  "photograph explained":
    "The network estimates the noise level from the middle of the photograph. Lower it if detail is lost; raise it if noise is left. The command “hourglass denoise” also takes 16-bit files and more formats, and keeps metadata.",

  "tab inspect": "Your images",
  "lead inspect":
    "How your autoencoder reconstructs your images. “hourglass inspect” computed everything here, and the results are in the folder of this page.",
  inspected: "{count} images; {title}. Mean squared error {mean} on average.",
  "inspected image": "{name}: mean squared error {error}",
  "scores as table": "Scores as a table (CSV)",
  "error map": "Error: white is large",
  nearest: "Images with the most similar codes",
  worst: "The worst reconstructions",
  "worst explained":
    "Original, reconstruction and error, the largest mean squared error first. Images that are unlike the training images often appear here.",
  more: "More",
  "inspected map explained":
    "Each point is an image. Images with similar codes lie near each other (t-SNE). Point at one to see it, and click to look at it above.",
  "what numbers do": "What the numbers of the code do",
  "numbers explained":
    "Each group of images decodes the mean code with one number changed, to its 2nd, 25th, 50th, 75th and 98th percentile over your images. The {shown} of {size} numbers that vary most are shown, in this order.",

  drawing: "Drawing of a digit. The arrow keys move the pen, Space puts it down and lifts it.",

  "second images": "Images to walk to",

  "decoded changed": "Decoded from the changed code",

  accuracies: "at step {scored}, accuracy {inference} in inference mode and {batch} in training mode.",

  diverged: "The training has diverged.",

  "manual explained":
    "The layer written by hand computes the same as the framework's. They differ in one thing: for convolutions the framework stores the variance multiplied by n/(n − 1), where n is the number of values of a channel in the batch.",
};
