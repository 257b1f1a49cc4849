/* Convolutions, as products of unfolded neighbourhoods with the kernel. */

#include "engine.h"

#define AT_ONCE 65536 /* numbers of unfolded neighbourhoods that are made at once: they stay in the second cache */

/* Which input pixels belong to which output pixel. */
typedef struct {
    int height, width, channels, size, stride, rows, columns, top, left;
} places;

static int divided_up(int size, int stride) { return (size + stride - 1) / stride; }

/* Padding before an axis in 'same' convolutions, as TensorFlow's: where it is odd, one more comes after the axis. */
static int padding(int length, int size, int stride)
{
    int total = (divided_up(length, stride) - 1) * stride + size - length;
    return total < 0 ? 0 : total / 2;
}

static places places_of(int height, int width, int channels, int size, int stride)
{
    places p = {height, width, channels, size, stride, divided_up(height, stride), divided_up(width, stride),
                padding(height, size, stride), padding(width, size, stride)};
    return p;
}

/* Unfold the neighbourhoods (size, size, channels) of the output pixels in rows [first, end) of one image; 0 outside the
image. */
static void unfold(places p, const real *image, int first, int end, real *rows)
{
    int c = p.channels;
    for (int y = first; y < end; y++)
        for (int x = 0; x < p.columns; x++)
            for (int ky = 0; ky < p.size; ky++) {
                int from_y = y * p.stride + ky - p.top;
                for (int kx = 0; kx < p.size; kx++, rows += c) {
                    int from_x = x * p.stride + kx - p.left;
                    if (from_y < 0 || from_y >= p.height || from_x < 0 || from_x >= p.width)
                        for (int i = 0; i < c; i++)
                            rows[i] = 0;
                    else {
                        const real *from = image + (from_y * p.width + from_x) * c;
                        for (int i = 0; i < c; i++)
                            rows[i] = from[i];
                    }
                }
            }
}

/* Add unfolded neighbourhoods to the pixels that they came from: the transpose of `unfold`. */
static void fold(places p, const real *rows, real *image)
{
    int c = p.channels;
    for (int y = 0; y < p.rows; y++)
        for (int x = 0; x < p.columns; x++)
            for (int ky = 0; ky < p.size; ky++) {
                int to_y = y * p.stride + ky - p.top;
                for (int kx = 0; kx < p.size; kx++, rows += c) {
                    int to_x = x * p.stride + kx - p.left;
                    if (to_y < 0 || to_y >= p.height || to_x < 0 || to_x >= p.width)
                        continue;
                    real *to = image + (to_y * p.width + to_x) * c;
                    for (int i = 0; i < c; i++)
                        to[i] += rows[i];
                }
            }
}

/* Images whose neighbourhoods are unfolded at once; at least one. */
static int images_at_once(places p, int n)
{
    int each = p.rows * p.columns * p.size * p.size * p.channels, count = AT_ONCE / each;
    return count < 1 ? 1 : count < n ? count : n;
}

/* Rows of one image whose neighbourhoods are unfolded at once in the forward direction; at least one. */
static int rows_at_once(places p)
{
    int each = p.columns * p.size * p.size * p.channels, count = AT_ONCE / each;
    return count < 1 ? 1 : count < p.rows ? count : p.rows;
}

/* Numbers of scratch memory that a convolution of n images needs: forward, or also backward. */
int EXPORT(convolution_scratch)(int n, int height, int width, int inputs, int outputs, int size, int stride, int backward)
{
    places p = places_of(height, width, inputs, size, stride);
    int taps = size * size * inputs, deepest = taps > outputs ? taps : outputs, rows = rows_at_once(p);
    int unfolded = backward || rows == p.rows ? images_at_once(p, n) * p.rows * p.columns : rows * p.columns;
    if (unfolded > deepest)
        deepest = unfolded;
    return unfolded * taps + deepest * WIDE;
}

void EXPORT(convolve)(const real *images, const real *kernel, const real *bias, real *to, int n, int height, int width,
                      int inputs, int outputs, int size, int stride, real *scratch)
{
    places p = places_of(height, width, inputs, size, stride);
    int taps = size * size * inputs, pixels = p.rows * p.columns, rows = rows_at_once(p);
    int count = rows == p.rows ? images_at_once(p, n) : 1; /* many small images at once, or a part of a large one */
    real *panel = scratch + count * rows * p.columns * taps;
    matrix a = {scratch, taps, 1}, b = {kernel, outputs, 1};
    for (int i = 0; i < n; i += count)
        for (int y = 0; y < p.rows; y += rows) {
            int now = n - i < count ? n - i : count, end = p.rows - y < rows ? p.rows : y + rows;
            int places_now = now * (end - y) * p.columns;
            for (int k = 0; k < now; k++)
                unfold(p, images + (i + k) * height * width * inputs, y, end, scratch + k * pixels * taps);
            real *out = to + (i * pixels + y * p.columns) * outputs;
            product(places_now, outputs, taps, a, b, out, 0, panel);
            if (bias)
                add_bias(bias, out, places_now, outputs);
        }
}

/* A transposed convolution with stride 2 and a kernel (inputs, 2, 2, outputs): each pixel becomes a patch of 2 × 2.
`scratch` has room for `4 * width * outputs + inputs * WIDE` numbers. */
void EXPORT(grow)(const real *image, const real *kernel, const real *bias, real *to, int height, int width, int inputs,
                  int outputs, real *scratch)
{
    real *panel = scratch + 4 * width * outputs;
    for (int y = 0; y < height; y++) {
        matrix a = {image + y * width * inputs, inputs, 1}, b = {kernel, 4 * outputs, 1};
        product(width, 4 * outputs, inputs, a, b, scratch, 0, panel);
        for (int x = 0; x < width; x++)
            for (int part = 0; part < 4; part++) {
                const real *patch = scratch + (4 * x + part) * outputs;
                real *pixel = to + ((2 * y + part / 2) * 2 * width + 2 * x + part % 2) * outputs;
                for (int c = 0; c < outputs; c++)
                    pixel[c] = patch[c] + bias[c];
            }
    }
}

/* Gradients of the kernel, of the bias (or 0) and of the images (or 0), from that of the output. */
void EXPORT(convolve_back)(const real *images, const real *kernel, const real *gradient, real *of_kernel, real *of_bias,
                           real *of_images, int n, int height, int width, int inputs, int outputs, int size,
                           int stride, real *scratch)
{
    places p = places_of(height, width, inputs, size, stride);
    int taps = size * size * inputs, pixels = p.rows * p.columns, count = images_at_once(p, n);
    real *panel = scratch + count * pixels * taps;
    for (int i = 0; i < n; i += count) {
        int now = n - i < count ? n - i : count;
        const real *g = gradient + i * pixels * outputs;
        for (int k = 0; k < now; k++)
            unfold(p, images + (i + k) * height * width * inputs, 0, p.rows, scratch + k * pixels * taps);
        matrix unfolded = {scratch, 1, taps}, by_pixel = {g, outputs, 1}, transposed = {kernel, 1, outputs};
        product(taps, outputs, now * pixels, unfolded, by_pixel, of_kernel, i > 0, panel);
        if (!of_images)
            continue;
        product(now * pixels, taps, outputs, by_pixel, transposed, scratch, 0, panel);
        real *to = of_images + i * height * width * inputs;
        for (int k = 0; k < now * height * width * inputs; k++)
            to[k] = 0;
        for (int k = 0; k < now; k++)
            fold(p, scratch + k * pixels * taps, to + k * height * width * inputs);
    }
    if (of_bias)
        sum_rows(NUMBERS, gradient, 0, of_bias, n * pixels, outputs);
}
