// @ts-check
/** Batch normalisation of images, each channel over the batch, height and width. */

import { Engine, Numbers } from "./engine.js";
import { Layer, address } from "./layers.js";
/** @typedef {import("./layers.js").Shape} Shape */
/** @typedef {import("./layers.js").Parameter} Parameter */

/** Batch normalisation with a scale and a shift, and with moments that are stored for inference. */
export class BatchNorm extends Layer {
  /**
   * @param {object} [options]
   * @param {number} [options.momentum] share of the new batch in the stored statistics (PyTorch's convention)
   * @param {number} [options.epsilon] added to the variance
   * @param {boolean} [options.bessel] whether the stored variance is corrected, as in TensorFlow's layer for images
   * @param {string} [options.name]
   */
  constructor({ momentum = 0.01, epsilon = 1e-3, bessel = false, name = "" } = {}) {
    super();
    Object.assign(this, { name });
    this.momentum = momentum;
    this.epsilon = epsilon;
    this.bessel = bessel;
  }

  /** @param {Engine} engine @param {Shape} input @param {number} limit @param {boolean} trained */
  build(engine, input, limit, trained) {
    super.build(engine, input, limit, trained);
    const channels = input[2];
    this.gamma = this.addParameter("gamma", [channels], 1);
    this.beta = this.addParameter("beta", [channels]);
    this.normalised = engine.reserve(this.output.size);
    this.batchMean = engine.reserve(channels);
    this.batchVariance = engine.reserve(channels);
    this.movingMean = engine.reserve(channels);
    this.movingVariance = engine.reserve(channels);
    this.movingVariance.values.fill(1);
  }

  /** @param {Numbers} input @param {number} n @param {import("./layers.js").Mode} mode */
  forward(input, n, mode) {
    const { call } = this.engine;
    const [height, width, channels] = this.input;
    const rows = n * height * width;
    const built = /** @type {Required<this> & {gamma: Parameter, beta: Parameter}} */ (this);
    const { gamma, beta, normalised, batchMean, batchVariance, movingMean, movingVariance } = built;
    const [mean, variance] = mode === "inference" ? [movingMean, movingVariance] : [batchMean, batchVariance];
    if (mode !== "inference") call.moments(input.pointer, address(mean), address(variance), rows, channels);
    if (mode === "training") {
      const correction = this.bessel && rows > 1 ? rows / (rows - 1) : 1;
      call.move(address(movingMean), address(batchMean), this.momentum, 1, channels);
      call.move(address(movingVariance), address(batchVariance), this.momentum, correction, channels);
    }
    const places = [input, mean, variance, gamma.numbers, beta.numbers].map(address);
    const results = [normalised, this.output].map(address);
    call.normalise(...places, this.epsilon, ...results, this.engine.scratch(channels), rows, channels);
  }

  /** After a batch in training mode. @param {Numbers} _input @param {Numbers | null} ofInput @param {number} n */
  backward(_input, ofInput, n) {
    const [height, width, channels] = this.input;
    const { gamma, beta } = /** @type {{gamma: Parameter, beta: Parameter}} */ (this);
    const before = [this.normalised, this.batchVariance, gamma.numbers].map(address);
    // As a first layer, the gradient of the images takes the place of numbers that are no longer needed.
    const after = [this.gradient, gamma.gradient, beta.gradient, ofInput ?? this.normalised].map(address);
    const scratch = this.engine.scratch(channels);
    this.engine.call.normalise_back(...before, this.epsilon, ...after, scratch, n * height * width, channels);
  }
}
