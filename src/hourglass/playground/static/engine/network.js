// @ts-check
/** Networks: layers one after the other, a loss, and the optimisers. */

import { Engine, Numbers } from "./engine.js";
import { sizeOf } from "./layers.js";
/** @typedef {import("./layers.js").Layer} Layer */
/** @typedef {import("./layers.js").Shape} Shape */
/** @typedef {import("./layers.js").Parameter} Parameter */

/** Layers, each of which gets the output of the one before. */
export class Network {
  /**
   * @param {Engine} engine
   * @param {Shape} shape height, width and channels of the images
   * @param {Layer[]} layers
   * @param {object} [options]
   * @param {number} [options.limit] the largest batch
   * @param {boolean} [options.trained] whether gradients will be computed
   */
  constructor(engine, shape, layers, { limit = 1, trained = false } = {}) {
    this.engine = engine;
    this.shape = shape;
    this.layers = layers;
    this.limit = limit;
    this.trained = trained;
    this.images = engine.reserve(limit * sizeOf(shape));
    let before = shape;
    for (const layer of layers) {
      layer.build(engine, before, limit, trained);
      before = layer.shape;
    }
    /** @type {Parameter[]} */
    this.parameters = layers.flatMap((layer) => layer.parameters);
    this.last = layers[layers.length - 1];
    this.targets = engine.reserve(trained ? this.last.output.size : 0);
  }

  /**
   * Compute the outputs of images.
   * @param {ArrayLike<number>} images (n, h, w, c), in [0, 1]
   * @param {object} [options]
   * @param {import("./layers.js").Mode} [options.mode] which moments batch normalisation uses
   * @param {number} [options.from] the first layer that is computed: `images` is its input
   * @returns {Float32Array | Float64Array} (n, …) outputs, as a view of the engine's memory that the next call changes
   */
  forward(images, { mode = "inference", from = 0 } = {}) {
    const start = from ? this.layers[from - 1].output : this.images;
    const n = images.length / sizeOf(from ? this.layers[from].input : this.shape);
    if (!Number.isInteger(n) || n > this.limit)
      throw new Error(`${images.length} numbers are no batch of at most ${this.limit} images ${this.shape.join(" × ")}`);
    start.values.set(images);
    this.layers.slice(from).forEach((layer, i) => layer.forward(i ? this.layers[from + i - 1].output : start, n, mode));
    return this.last.output.values.subarray(0, n * sizeOf(this.last.shape));
  }

  /**
   * Compute the loss of a batch in training mode, and the gradients of all parameters.
   * @param {ArrayLike<number>} images
   * @param {ArrayLike<number>} targets
   * @param {"cross_entropy" | "squared_error"} [loss] mean sigmoid cross-entropy of logits, or mean squared error
   */
  gradients(images, targets, loss = "cross_entropy") {
    this.forward(images, { mode: "training" });
    const n = images.length / sizeOf(this.shape);
    const size = n * sizeOf(this.last.shape);
    if (targets.length !== size) throw new Error(`${targets.length} targets for ${size} outputs`);
    this.targets.values.set(targets);
    const { output, gradient } = this.last;
    const value = this.engine.call[loss](output.pointer, this.targets.pointer, gradient.pointer, size);
    for (let i = this.layers.length - 1; i >= 0; i--) {
      const [input, ofInput] = i ? [this.layers[i - 1].output, this.layers[i - 1].gradient] : [this.images, null];
      this.layers[i].backward(input, ofInput, n);
    }
    return value;
  }

  /**
   * Set all parameters.
   * @param {ArrayLike<number>} values one after the other, in the order of `parameters`
   */
  setParameters(values) {
    const size = this.parameters.reduce((sum, parameter) => sum + parameter.numbers.size, 0);
    if (values.length !== size) throw new Error(`${values.length} numbers for ${size} parameters`);
    let at = 0;
    for (const { numbers } of this.parameters) {
      const target = numbers.values;
      for (let i = 0; i < target.length; i++) target[i] = values[at++];
    }
  }
}

/** Adam with epsilon outside the bias correction, as in TensorFlow. */
export class Adam {
  /**
   * @param {Network} network
   * @param {number} learningRate
   */
  constructor(network, learningRate) {
    this.network = network;
    this.learningRate = learningRate;
    this.steps = 0;
    /** @type {Array<[Parameter, Numbers, Numbers]>} */
    this.state = network.parameters.map((parameter) => [
      parameter,
      network.engine.reserve(parameter.numbers.size),
      network.engine.reserve(parameter.numbers.size),
    ]);
  }

  /** Change the parameters once, from their gradients. */
  step() {
    this.steps++;
    const rate = (this.learningRate * Math.sqrt(1 - 0.999 ** this.steps)) / (1 - 0.9 ** this.steps);
    for (const [{ numbers, gradient }, mean, square] of this.state) {
      const places = [numbers, gradient, mean, square].map((each) => each.pointer);
      this.network.engine.call.adam(...places, numbers.size, rate, 0.9, 0.999, 1e-8);
    }
  }
}

/** Stochastic gradient descent. */
export class GradientDescent {
  /**
   * @param {Network} network
   * @param {number} learningRate
   */
  constructor(network, learningRate) {
    this.network = network;
    this.learningRate = learningRate;
  }

  /** Change the parameters once, from their gradients. */
  step() {
    for (const { numbers, gradient } of this.network.parameters)
      this.network.engine.call.descend(numbers.pointer, gradient.pointer, numbers.size, this.learningRate);
  }
}
