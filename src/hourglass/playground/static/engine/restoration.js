// @ts-check
/** The package's denoiser of photographs, a U-Net that works on blocks of 2 × 2 pixels: `nn.RestorationNet`. */

import { Engine, Numbers } from "./engine.js";

/** Channels of the images. */
const CHANNELS = 3;
/** Both sides of a tile are multiples of it. */
export const STRIDE = 8;
/** Pixels around a tile's middle that have a part in its output. */
export const HALO = 64;

/**
 * A convolution's weights.
 * @typedef {{kernel: Numbers, bias: Numbers, size: number, inputs: number, outputs: number}} Weights
 */
/**
 * Feature maps of a scale: the present ones, and two of the same size for the work in a block.
 * @typedef {{height: number, width: number, channels: number, maps: Numbers, spare: [Numbers, Numbers]}} Scale
 */

/** The network, with memory for tiles of one size. */
export class RestorationNet {
  /**
   * @param {Engine} engine
   * @param {Float32Array} values all weights in the order of the Python module, each as (size, size, in, out), or
   *   (in, 2, 2, out) where it enlarges
   * @param {[number, number]} tile height and width of the tiles, multiples of 8
   * @param {{widths?: number[], blocks?: number[]}} [options] channels, and residual blocks, at a half, a quarter and an
   *   eighth of the resolution
   */
  constructor(engine, values, [height, width], { widths = [64, 96, 128], blocks = [1, 1, 2] } = {}) {
    this.engine = engine;
    this.tile = [height, width];
    let at = 0;
    /** @param {number} size @param {number} inputs @param {number} outputs @returns {Weights} */
    const take = (size, inputs, outputs) => {
      const [kernel, bias] = [engine.reserve(size * size * inputs * outputs), engine.reserve(outputs)];
      for (const numbers of [kernel, bias]) numbers.values.set(values.subarray(at, (at += numbers.size)));
      return { kernel, bias, size, inputs, outputs };
    };
    /** @param {number} channels @param {number} count */
    const residual = (channels, count) =>
      Array.from({ length: count }, () => [take(3, channels, channels), take(3, channels, channels)]);
    const [fine, middle, coarse] = widths;
    this.head = take(3, 4 * CHANNELS + 2, fine);
    this.fineDown = residual(fine, blocks[0]);
    this.toMiddle = take(2, fine, middle);
    this.middleDown = residual(middle, blocks[1]);
    this.toCoarse = take(2, middle, coarse);
    this.coarse = residual(coarse, blocks[2]);
    this.fromCoarse = take(2, coarse, middle);
    this.middleUp = residual(middle, blocks[1]);
    this.fromMiddle = take(2, middle, fine);
    this.fineUp = residual(fine, blocks[0]);
    this.tail = take(3, fine, 4 * CHANNELS);
    if (at !== values.length) throw new Error(`${values.length} numbers for ${at} weights`);

    this.blocks = engine.reserve(((height * width) / 4) * (4 * CHANNELS + 2));
    /** @type {Scale[]} */
    this.scales = widths.map((channels, i) => {
      const [rows, columns] = [height >> (i + 1), width >> (i + 1)];
      const reserve = () => engine.reserve(rows * columns * channels);
      return { height: rows, width: columns, channels, maps: reserve(), spare: [reserve(), reserve()] };
    });
  }

  /**
   * Restore one tile.
   * @param {Float32Array} pixels (height, width, 3) in [0, 1]
   * @param {number | null} level standard deviation of the noise; null where it is unknown
   * @returns {Float32Array} (height, width, 3), not limited to [0, 1]
   */
  restore(pixels, level) {
    this.#unshuffle(pixels, level);
    const [fine, middle, coarse] = this.scales;
    this.#convolve(this.head, this.blocks, fine, fine.maps);
    this.#refine(this.fineDown, fine);
    this.#convolve(this.toMiddle, fine.maps, fine, middle.maps);
    this.#refine(this.middleDown, middle);
    this.#convolve(this.toCoarse, middle.maps, middle, coarse.maps);
    this.#refine(this.coarse, coarse);
    this.#grow(this.fromCoarse, coarse, middle);
    this.#refine(this.middleUp, middle);
    this.#grow(this.fromMiddle, middle, fine);
    this.#refine(this.fineUp, fine);
    this.#convolve(this.tail, fine.maps, fine, this.blocks);
    return this.#shuffled(pixels);
  }

  /** @param {Weights} weights @param {Numbers} from @param {Scale} scale of `from` @param {Numbers} to */
  #convolve({ kernel, bias, size, inputs, outputs }, from, { height, width }, to) {
    const { call } = this.engine;
    const sizes = [1, height, width, inputs, outputs, size, size === 2 ? 2 : 1];
    const scratch = this.engine.scratch(call.convolution_scratch(...sizes, 0));
    call.convolve(from.pointer, kernel.pointer, bias.pointer, to.pointer, ...sizes, scratch);
  }

  /** Residual blocks: two convolutions with a ReLU between them, added to their input. */
  /** @param {Weights[][]} blocks @param {Scale} scale */
  #refine(blocks, scale) {
    const { call } = this.engine;
    const [inner, change] = scale.spare;
    const size = scale.height * scale.width * scale.channels;
    for (const [first, second] of blocks) {
      this.#convolve(first, scale.maps, scale, inner);
      call.rectify(inner.pointer, inner.pointer, size);
      this.#convolve(second, inner, scale, change);
      call.add(scale.maps.pointer, change.pointer, scale.maps.pointer, size);
    }
  }

  /** Enlarge maps, and add them to those of the finer scale. */
  /** @param {Weights} weights @param {Scale} from @param {Scale} to */
  #grow({ kernel, bias, inputs, outputs }, from, to) {
    const { call } = this.engine;
    const [larger] = to.spare;
    const scratch = this.engine.scratch(4 * from.width * outputs + call.product_scratch(inputs));
    const places = [from.maps, kernel, bias, larger].map(({ pointer }) => pointer);
    call.grow(...places, from.height, from.width, inputs, outputs, scratch);
    call.add(to.maps.pointer, larger.pointer, to.maps.pointer, to.height * to.width * to.channels);
  }

  /** Blocks of 2 × 2 pixels as channels, and two planes with the level. */
  /** @param {Float32Array} pixels @param {number | null} level */
  #unshuffle(pixels, level) {
    const [height, width] = this.tile;
    const values = this.blocks.values;
    let at = 0;
    for (let y = 0; y < height; y += 2)
      for (let x = 0; x < width; x += 2) {
        for (let c = 0; c < CHANNELS; c++)
          for (let part = 0; part < 4; part++)
            values[at++] = pixels[((y + (part >> 1)) * width + x + (part & 1)) * CHANNELS + c];
        values[at++] = level ?? 0;
        values[at++] = level === null ? 0 : 1;
      }
  }

  /** The pixels with the change that the blocks hold. */
  /** @param {Float32Array} pixels */
  #shuffled(pixels) {
    const [height, width] = this.tile;
    const values = this.blocks.values;
    const restored = new Float32Array(pixels.length);
    let at = 0;
    for (let y = 0; y < height; y += 2)
      for (let x = 0; x < width; x += 2)
        for (let c = 0; c < CHANNELS; c++)
          for (let part = 0; part < 4; part++) {
            const place = ((y + (part >> 1)) * width + x + (part & 1)) * CHANNELS + c;
            restored[place] = pixels[place] + values[at++];
          }
    return restored;
  }
}

/**
 * Restore an image of any size, tile by tile, with the result of the whole.
 * @param {(tile: [number, number]) => RestorationNet} networkFor makes the network for tiles of a size
 * @param {Float32Array} pixels (height, width, 3) in [0, 1]
 * @param {[number, number]} size height and width
 * @param {number | null} level standard deviation of the noise; null where it is unknown
 * @param {(done: number) => void} [progress] called after each tile with the share that is done
 * @returns {Float32Array} (height, width, 3), not limited to [0, 1]
 */
export function restoreImage(networkFor, pixels, [height, width], level, progress = () => {}) {
  const extended = [height, width].map((length) => Math.ceil(length / STRIDE) * STRIDE);
  const [tall, wide] = extended.map((length) => Math.min(TILE, length));
  const network = networkFor([tall, wide]);
  const [rows, columns] = [startsOf(extended[0], tall), startsOf(extended[1], wide)];
  const restored = new Float32Array(pixels.length);
  const tile = new Float32Array(tall * wide * CHANNELS);
  rows.forEach((top, i) =>
    columns.forEach((left, j) => {
      copy(pixels, [height, width], tile, [tall, wide], top, left);
      const result = network.restore(tile, level);
      // Each tile writes its middle, from half of what it shares with the one before.
      const [first, last] = [i ? top + HALO : 0, rows[i + 1] === undefined ? height : rows[i + 1] + HALO];
      const [start, end] = [j ? left + HALO : 0, columns[j + 1] === undefined ? width : columns[j + 1] + HALO];
      for (let y = first; y < last; y++) {
        const from = ((y - top) * wide + start - left) * CHANNELS;
        restored.set(result.subarray(from, from + (end - start) * CHANNELS), (y * width + start) * CHANNELS);
      }
      progress((i * columns.length + j + 1) / (rows.length * columns.length));
    }),
  );
  return restored;
}

/** The largest side of a tile. */
const TILE = 512;

/**
 * Where tiles start along an axis, such that neighbours share at least twice the halo and the last one ends with it.
 * @param {number} length of the axis
 * @param {number} tile
 */
function startsOf(length, tile) {
  const starts = [];
  for (let start = 0; start + tile < length; start += tile - 2 * HALO) starts.push(start);
  return [...starts, length - tile];
}

/**
 * Copy a tile out of an image, which is continued by its mirror image.
 * @param {Float32Array} pixels @param {[number, number]} size @param {Float32Array} tile
 * @param {number[]} tileSize @param {number} top @param {number} left
 */
function copy(pixels, [height, width], tile, [tall, wide], top, left) {
  let at = 0;
  for (let y = 0; y < tall; y++)
    for (let x = 0; x < wide; x++) {
      const place = (mirrored(top + y, height) * width + mirrored(left + x, width)) * CHANNELS;
      for (let c = 0; c < CHANNELS; c++) tile[at++] = pixels[place + c];
    }
}

/** @param {number} place @param {number} length */
function mirrored(place, length) {
  const period = 2 * (length - 1) || 1;
  const inside = place % period;
  return inside < length ? inside : period - inside;
}
