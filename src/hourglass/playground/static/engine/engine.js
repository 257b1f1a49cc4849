// @ts-check
/** Memory and functions of the WebAssembly module that computes the networks. */

const PAGE = 65536; // bytes

/**
 * Numbers in the memory of an engine.
 *
 * The memory may move when it grows, so that `values` is a new view each time: use it at once, and do not keep it.
 */
export class Numbers {
  /**
   * @param {Engine} engine
   * @param {number} pointer address of the first number, in bytes
   * @param {number} size how many numbers
   */
  constructor(engine, pointer, size) {
    this.engine = engine;
    this.pointer = pointer;
    this.size = size;
  }

  /** @returns {Float32Array | Float64Array} the numbers themselves, not a copy */
  get values() {
    return new this.engine.Values(this.engine.memory.buffer, this.pointer, this.size);
  }

  /**
   * The first numbers, as a copy that stays as it is.
   * @param {number} [size] how many; by default all
   */
  copy(size = this.size) {
    return this.values.slice(0, size);
  }
}

/**
 * One instance of the module, with a memory of its own.
 *
 * What is reserved is never freed by itself. An engine is made for one network, and both are dropped together.
 */
export class Engine {
  /** @type {number} address of the first free byte */
  #next;
  /** @type {Numbers | undefined} */
  #scratch;

  /**
   * @param {WebAssembly.Module} module
   * @param {boolean} double whether the module was compiled for numbers of 64 bits
   */
  constructor(module, double = false) {
    const exports = new WebAssembly.Instance(module).exports;
    /** @type {Record<string, (...numbers: number[]) => number>} */
    this.call = /** @type {any} */ (exports);
    this.memory = /** @type {WebAssembly.Memory} */ (exports.memory);
    /** The class of the arrays. */
    this.Values = double ? Float64Array : Float32Array;
    this.#next = /** @type {WebAssembly.Global} */ (exports.__heap_base).value;
  }

  /**
   * Fetch and compile the module of the page.
   * @returns {Promise<WebAssembly.Module>}
   */
  static async module() {
    const response = await fetch(new URL("engine.wasm", import.meta.url));
    if (!response.ok) throw new Error(`engine.wasm: ${response.status} ${response.statusText}`);
    // Compiling while fetching would need the type application/wasm, which not every host sends.
    return WebAssembly.compile(await response.arrayBuffer());
  }

  /**
   * Reserve memory for numbers; they are 0.
   * @param {number} size how many
   */
  reserve(size) {
    const pointer = Math.ceil(this.#next / 16) * 16;
    this.#next = pointer + size * this.Values.BYTES_PER_ELEMENT;
    const missing = this.#next - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / PAGE));
    return new Numbers(this, pointer, size);
  }

  /**
   * Memory that every function may use while it runs.
   * @param {number} size how many numbers it has at least
   * @returns {number} its address
   */
  scratch(size) {
    if (!this.#scratch || this.#scratch.size < size) this.#scratch = this.reserve(size);
    return this.#scratch.pointer;
  }
}
