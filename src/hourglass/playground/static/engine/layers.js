// @ts-check
/**
 * The layers of the networks, forward and backward.
 *
 * A layer is described by its options, and built for the shape of its input and for the largest batch. Images are
 * (n, h, w, c); rows of a dense layer are images of 1 × 1 pixels, and a dense layer takes images as rows, flattened in
 * the order height, width, channel.
 */

import { Engine, Numbers } from "./engine.js";

/** @typedef {[number, number, number]} Shape height, width and channels */
/**
 * Which moments batch normalisation uses: "training" those of the batch, which also move the stored ones; "batch" those
 * of the batch alone; "inference" the stored ones.
 * @typedef {"training" | "batch" | "inference"} Mode
 */
/**
 * @typedef {object} Parameter a weight, bias, scale or shift with its gradient
 * @property {string} name
 * @property {Numbers} numbers
 * @property {Numbers} gradient
 * @property {number[]} shape
 */

/**
 * How many numbers a shape has.
 * @param {number[]} shape
 */
export const sizeOf = (shape) => shape.reduce((product, length) => product * length, 1);

/** Abstract base class: a layer that keeps the shape of its input and has no parameters. */
export class Layer {
  /** @type {Engine} */
  engine = /** @type {any} */ (undefined);
  /** @type {Shape} shape of one input */
  input = [0, 0, 0];
  /** @type {Shape} shape of one output */
  shape = [0, 0, 0];
  /** @type {Numbers} outputs of the last batch */
  output = /** @type {any} */ (undefined);
  /** @type {Numbers} gradient of the loss with respect to the outputs */
  gradient = /** @type {any} */ (undefined);
  /** @type {Parameter[]} */
  parameters = [];
  /** A name for people, which layers of no interest do not have. */
  name = "";

  /**
   * Reserve what the layer needs.
   * @param {Engine} engine
   * @param {Shape} input shape of one input
   * @param {number} limit the largest batch
   * @param {boolean} trained whether gradients will be computed
   */
  build(engine, input, limit, trained) {
    this.engine = engine;
    this.input = input;
    this.shape = this.outputShape(input);
    this.output = engine.reserve(limit * sizeOf(this.shape));
    if (trained) this.gradient = engine.reserve(limit * sizeOf(this.shape));
  }

  /**
   * @param {Shape} input
   * @returns {Shape}
   */
  outputShape(input) {
    return input;
  }

  /**
   * @param {string} name
   * @param {number[]} shape
   * @param {number} start the value of all numbers
   */
  addParameter(name, shape, start = 0) {
    const parameter = {
      name,
      shape,
      numbers: this.engine.reserve(sizeOf(shape)),
      gradient: this.engine.reserve(sizeOf(shape)),
    };
    parameter.numbers.values.fill(start);
    this.parameters.push(parameter);
    return parameter;
  }

  /**
   * Compute the outputs of a batch.
   * @param {Numbers} input
   * @param {number} n images of the batch
   * @param {Mode} mode
   */
  forward(input, n, mode) {
    throw new Error(`${this.constructor.name} is an abstract layer (${input.size}, ${n}, ${mode})`);
  }

  /**
   * Compute the gradients of the parameters and of the inputs from that of the outputs.
   * @param {Numbers} input what `forward` got
   * @param {Numbers | null} ofInput receives the gradient of the inputs; null where nobody needs it
   * @param {number} n
   */
  backward(input, ofInput, n) {
    throw new Error(`networks with ${this.constructor.name} cannot be trained here (${input.size}, ${ofInput}, ${n})`);
  }
}

/** A convolution with 'same' padding, as TensorFlow's: where the padding is odd, one more comes after the image. */
export class Convolution extends Layer {
  /** @param {{outputs: number, size?: number, stride?: number, bias?: boolean, name?: string}} options */
  constructor({ outputs, size = 3, stride = 1, bias = true, name = "" }) {
    super();
    Object.assign(this, { name });
    this.outputs = outputs;
    this.size = size;
    this.stride = stride;
    this.hasBias = bias;
  }

  /** @param {Shape} input @returns {Shape} */
  outputShape([height, width]) {
    return [Math.ceil(height / this.stride), Math.ceil(width / this.stride), this.outputs];
  }

  /** @param {Engine} engine @param {Shape} input @param {number} limit @param {boolean} trained */
  build(engine, input, limit, trained) {
    super.build(engine, input, limit, trained);
    this.kernel = this.addParameter("kernel", [this.size, this.size, input[2], this.outputs]);
    this.bias = this.hasBias ? this.addParameter("bias", [this.outputs]) : null;
  }

  /** @param {number} n */
  #sizes(n) {
    const sizes = [n, ...this.input, this.outputs, this.size, this.stride];
    return [...sizes, this.engine.scratch(this.engine.call.convolution_scratch(...sizes, Number(Boolean(this.gradient))))];
  }

  /** @param {Numbers} input @param {number} n */
  forward(input, n) {
    const { kernel, bias } = /** @type {{kernel: Parameter, bias: Parameter | null}} */ (this);
    const places = [input, kernel.numbers, bias?.numbers, this.output].map(address);
    this.engine.call.convolve(...places, ...this.#sizes(n));
  }

  /** @param {Numbers} input @param {Numbers | null} ofInput @param {number} n */
  backward(input, ofInput, n) {
    const { kernel, bias } = /** @type {{kernel: Parameter, bias: Parameter | null}} */ (this);
    const places = [input, kernel.numbers, this.gradient, kernel.gradient, bias?.gradient, ofInput].map(address);
    this.engine.call.convolve_back(...places, ...this.#sizes(n));
  }
}

/** A dense layer. */
export class Dense extends Layer {
  /** @param {{outputs: number, bias?: boolean, shape?: Shape, name?: string}} options `shape` of the output as images */
  constructor({ outputs, bias = true, shape = [1, 1, outputs], name = "" }) {
    super();
    Object.assign(this, { name });
    this.outputs = outputs;
    this.hasBias = bias;
    this.asImages = shape;
  }

  /** @returns {Shape} */
  outputShape() {
    return this.asImages;
  }

  /** @param {Engine} engine @param {Shape} input @param {number} limit @param {boolean} trained */
  build(engine, input, limit, trained) {
    super.build(engine, input, limit, trained);
    this.weights = this.addParameter("weights", [sizeOf(input), this.outputs]);
    this.bias = this.hasBias ? this.addParameter("bias", [this.outputs]) : null;
  }

  /** @param {number} n @param {number} depth */
  #sizes(n, depth) {
    return [n, sizeOf(this.input), this.outputs, this.engine.scratch(this.engine.call.product_scratch(depth))];
  }

  /** @param {Numbers} input @param {number} n */
  forward(input, n) {
    const { weights, bias } = /** @type {{weights: Parameter, bias: Parameter | null}} */ (this);
    const places = [input, weights.numbers, bias?.numbers, this.output].map(address);
    this.engine.call.dense(...places, ...this.#sizes(n, sizeOf(this.input)));
  }

  /** @param {Numbers} input @param {Numbers | null} ofInput @param {number} n */
  backward(input, ofInput, n) {
    const { weights, bias } = /** @type {{weights: Parameter, bias: Parameter | null}} */ (this);
    const places = [input, weights.numbers, this.gradient, weights.gradient, bias?.gradient, ofInput].map(address);
    this.engine.call.dense_back(...places, ...this.#sizes(n, Math.max(n, this.outputs)));
  }
}

/** Names of the activations in the engine. */
const ACTIVATIONS = { relu: "rectify", sigmoid: "sigmoid", tanh: "hyperbolic_tangent" };

/** A function of single numbers. */
export class Activation extends Layer {
  /** @param {{kind?: keyof typeof ACTIVATIONS, name?: string}} [options] */
  constructor({ kind = "relu", name = "" } = {}) {
    super();
    Object.assign(this, { name });
    this.function = ACTIVATIONS[kind];
  }

  /** @param {Numbers} input @param {number} n */
  forward(input, n) {
    this.engine.call[this.function](input.pointer, this.output.pointer, n * sizeOf(this.shape));
  }

  /** @param {Numbers} _input @param {Numbers | null} ofInput @param {number} n */
  backward(_input, ofInput, n) {
    const places = [this.output, this.gradient, ofInput].map(address);
    if (ofInput) this.engine.call[`${this.function}_back`](...places, n * sizeOf(this.shape));
  }
}

/** The maximum of blocks of 2 × 2 pixels; odd sides have a last block of what is left. */
export class Pool extends Layer {
  /** @param {Shape} input @returns {Shape} */
  outputShape([height, width, channels]) {
    return [Math.ceil(height / 2), Math.ceil(width / 2), channels];
  }

  /** @param {Numbers} input @param {number} n */
  forward(input, n) {
    this.engine.call.pool(input.pointer, this.output.pointer, n, ...this.input);
  }

  /** @param {Numbers} input @param {Numbers | null} ofInput @param {number} n */
  backward(input, ofInput, n) {
    const places = [input, this.output, this.gradient, ofInput].map(address);
    if (ofInput) this.engine.call.pool_back(...places, n, ...this.input);
  }
}

/** Nearest pixels, to a size. */
export class Enlarge extends Layer {
  /** @param {{height: number, width: number}} options */
  constructor({ height, width }) {
    super();
    this.size = [height, width];
  }

  /** @param {Shape} input @returns {Shape} */
  outputShape([, , channels]) {
    return [this.size[0], this.size[1], channels];
  }

  /** @param {Numbers} input @param {number} n */
  forward(input, n) {
    this.engine.call.enlarge(input.pointer, this.output.pointer, n, ...this.input, ...this.size);
  }

  /** @param {Numbers} _input @param {Numbers | null} ofInput @param {number} n */
  backward(_input, ofInput, n) {
    const places = [this.gradient, ofInput].map(address);
    if (ofInput) this.engine.call.enlarge_back(...places, n, ...this.input, ...this.size);
  }
}

/** The channels of the input, and after them those of an earlier layer's output. */
export class Join extends Layer {
  /** @param {{other: Layer}} options `other` comes before this layer in the network */
  constructor({ other }) {
    super();
    this.other = other;
  }

  /** @param {Shape} input @returns {Shape} */
  outputShape([height, width, channels]) {
    return [height, width, channels + this.other.shape[2]];
  }

  /** @param {Numbers} input @param {number} n */
  forward(input, n) {
    const places = [input, this.other.output, this.output].map(address);
    const [height, width, channels] = this.input;
    this.engine.call.join(...places, n * height * width, channels, this.other.shape[2]);
  }
}

/**
 * The address of numbers, 0 where there are none.
 * @param {Numbers | null | undefined} numbers
 */
export const address = (numbers) => numbers?.pointer ?? 0;
