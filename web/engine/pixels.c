/* Functions of single numbers and of pixels: activations, pooling, enlarging, joining. */

#include "engine.h"

/* Comparisons are such that a number that is none stays one, and a network that has diverged shows it. */
void EXPORT(rectify)(const real *from, real *to, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = from[i] < 0 ? 0 : from[i];
}

/* Gradient through a ReLU, from its output. */
void EXPORT(rectify_back)(const real *output, const real *gradient, real *to, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = output[i] <= 0 ? 0 : gradient[i];
}

void EXPORT(sigmoid)(const real *from, real *to, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (real)(1 / (1 + exponential(-(double)from[i])));
}

void EXPORT(sigmoid_back)(const real *output, const real *gradient, real *to, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = gradient[i] * output[i] * (1 - output[i]);
}

void EXPORT(hyperbolic_tangent)(const real *from, real *to, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (real)(2 / (1 + exponential(-2 * (double)from[i])) - 1);
}

void EXPORT(hyperbolic_tangent_back)(const real *output, const real *gradient, real *to, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = gradient[i] * (1 - output[i] * output[i]);
}

/* Maximum of blocks of 2 × 2 pixels; odd sides have a last block of what is left. */
void EXPORT(pool)(const real *images, real *to, int n, int height, int width, int channels)
{
    int rows = (height + 1) / 2, columns = (width + 1) / 2;
    for (int i = 0; i < n; i++, images += height * width * channels)
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++, to += channels) {
                const real *first = images + (2 * y * width + 2 * x) * channels;
                for (int c = 0; c < channels; c++)
                    to[c] = first[c];
                for (int part = 1; part < 4; part++) {
                    int down = part / 2, right = part % 2;
                    if (2 * y + down >= height || 2 * x + right >= width)
                        continue;
                    const real *other = first + (down * width + right) * channels;
                    for (int c = 0; c < channels; c++)
                        to[c] = other[c] <= to[c] || to[c] != to[c] ? to[c] : other[c];
                }
            }
}

/* The gradient of a maximum goes to the first pixel of its block that has it. */
void EXPORT(pool_back)(const real *images, const real *output, const real *gradient, real *to, int n, int height,
                       int width, int channels)
{
    int rows = (height + 1) / 2, columns = (width + 1) / 2;
    for (int i = 0; i < n * height * width * channels; i++)
        to[i] = 0;
    for (int i = 0; i < n; i++, images += height * width * channels, to += height * width * channels)
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++, output += channels, gradient += channels)
                for (int c = 0; c < channels; c++)
                    for (int part = 0; part < 4; part++) {
                        int down = 2 * y + part / 2, right = 2 * x + part % 2;
                        if (down >= height || right >= width)
                            continue;
                        int place = (down * width + right) * channels + c;
                        if (images[place] == output[c]) {
                            to[place] = gradient[c];
                            break;
                        }
                    }
}

/* Nearest pixels: row y of the output is row floor(y * height / rows) of the input, and likewise the columns. */
void EXPORT(enlarge)(const real *images, real *to, int n, int height, int width, int channels, int rows, int columns)
{
    for (int i = 0; i < n; i++, images += height * width * channels)
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++, to += channels) {
                const real *from = images + (y * height / rows * width + x * width / columns) * channels;
                for (int c = 0; c < channels; c++)
                    to[c] = from[c];
            }
}

void EXPORT(enlarge_back)(const real *gradient, real *to, int n, int height, int width, int channels, int rows,
                          int columns)
{
    for (int i = 0; i < n * height * width * channels; i++)
        to[i] = 0;
    for (int i = 0; i < n; i++, to += height * width * channels)
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++, gradient += channels) {
                real *place = to + (y * height / rows * width + x * width / columns) * channels;
                for (int c = 0; c < channels; c++)
                    place[c] += gradient[c];
            }
}

/* Channels of two images, one after the other. */
void EXPORT(join)(const real *first, const real *second, real *to, int pixels, int of_first, int of_second)
{
    for (int i = 0; i < pixels; i++, first += of_first, second += of_second) {
        for (int c = 0; c < of_first; c++)
            *to++ = first[c];
        for (int c = 0; c < of_second; c++)
            *to++ = second[c];
    }
}

void EXPORT(add)(const real *first, const real *second, real *to, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = first[i] + second[i];
}
