// @ts-check
/** Images on canvases. */

/**
 * Draw grey pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} pixels (height, width), from `low`, black, to `high`, white
 * @param {number} width
 * @param {number} [low]
 * @param {number} [high]
 */
export function drawGrey(canvas, pixels, width, low = 0, high = 1) {
  const scale = 255 / (high - low || 1);
  draw(canvas, pixels.length, width, (i, rgb) => rgb.fill((pixels[i] - low) * scale));
}

/**
 * Draw numbers of both signs: orange above 0, blue below, and the page's ground at 0.
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} numbers (height, width)
 * @param {number} width
 * @param {number} [largest] the size that has the full colour; by default that of the largest number
 */
export function drawSigned(canvas, numbers, width, largest = sizeOfLargest(numbers)) {
  const dark = document.documentElement.dataset.theme === "dark";
  const ground = dark ? [20, 23, 26] : [255, 255, 255];
  draw(canvas, numbers.length, width, (i, rgb) => {
    const part = Math.max(-1, Math.min(1, numbers[i] / (largest || 1)));
    const ink = part > 0 ? [230, 120, 20] : [40, 120, 200];
    for (let c = 0; c < 3; c++) rgb[c] = ground[c] + (ink[c] - ground[c]) * Math.abs(part);
  });
}

/** @param {ArrayLike<number>} numbers */
export function sizeOfLargest(numbers) {
  let largest = 0;
  for (let i = 0; i < numbers.length; i++) largest = Math.max(largest, Math.abs(numbers[i]));
  return largest;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number} size how many pixels
 * @param {number} width
 * @param {(i: number, rgb: number[]) => void} colour sets the colour of pixel `i`
 */
function draw(canvas, size, width, colour) {
  canvas.width = width;
  canvas.height = size / width;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(canvas.width, canvas.height);
  const rgb = [0, 0, 0];
  for (let i = 0; i < size; i++) {
    colour(i, rgb);
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = rgb[c];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/**
 * The peak signal-to-noise ratio of an image in dB, for pixels in [0, 1].
 * @param {ArrayLike<number>} clean
 * @param {ArrayLike<number>} other
 */
export function psnr(clean, other) {
  let sum = 0;
  for (let i = 0; i < clean.length; i++) sum += (clean[i] - other[i]) ** 2;
  return 10 * Math.log10(clean.length / sum);
}
