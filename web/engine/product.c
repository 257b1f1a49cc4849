/* One product of matrices, in tiles that stay in registers. Every convolution and dense layer uses it. */

#include "engine.h"

#define TALL 4 /* rows of a tile */

/* Copy columns [first, first + WIDE) of b into a panel (depth, WIDE), with zeros beyond the last column. */
static void pack(matrix b, int depth, int first, int columns, real *panel)
{
    int count = columns - first < WIDE ? columns - first : WIDE;
    for (int k = 0; k < depth; k++) {
        const real *from = b.data + k * b.row + first * b.column;
        for (int i = 0; i < count; i++)
            panel[k * WIDE + i] = from[i * b.column];
        for (int i = count; i < WIDE; i++)
            panel[k * WIDE + i] = 0;
    }
}

void product(int rows, int columns, int depth, matrix a, matrix b, real *to, int add, real *panel)
{
    for (int j = 0; j < columns; j += WIDE) {
        int count = columns - j < WIDE ? columns - j : WIDE;
        pack(b, depth, j, columns, panel);
        for (int i = 0; i < rows; i += TALL) {
            int high = rows - i < TALL ? rows - i : TALL;
            const real *row[TALL];
            for (int r = 0; r < TALL; r++)
                row[r] = a.data + (i + (r < high ? r : 0)) * a.row;
            vector sum[TALL][2] = {0};
            const real *p = panel;
            for (int k = 0, at = 0; k < depth; k++, at += a.column, p += WIDE) {
                vector left = *(const vector *)p, right = *(const vector *)(p + LANES);
#pragma unroll
                for (int r = 0; r < TALL; r++) {
                    sum[r][0] += row[r][at] * left;
                    sum[r][1] += row[r][at] * right;
                }
            }
            for (int r = 0; r < high; r++) {
                real *place = to + (i + r) * columns + j;
                for (int c = 0; c < count; c++) {
                    real value = sum[r][c / LANES][c % LANES];
                    place[c] = add ? place[c] + value : value;
                }
            }
        }
    }
}

void add_bias(const real *bias, real *rows, int n, int channels)
{
    for (int i = 0; i < n; i++)
        for (int c = 0; c < channels; c++)
            rows[i * channels + c] += bias[c];
}

/* A dense layer; `scratch` has room for `inputs * WIDE` numbers. */
void EXPORT(dense)(const real *rows, const real *weights, const real *bias, real *to, int n, int inputs, int outputs,
                   real *scratch)
{
    matrix a = {rows, inputs, 1}, b = {weights, outputs, 1};
    product(n, outputs, inputs, a, b, to, 0, scratch);
    if (bias)
        add_bias(bias, to, n, outputs);
}

/* Gradients of the weights, the bias (or 0) and the rows (or 0); `scratch` has room for `max(n, outputs) * WIDE`. */
void EXPORT(dense_back)(const real *rows, const real *weights, const real *gradient, real *of_weights, real *of_bias,
                        real *of_rows, int n, int inputs, int outputs, real *scratch)
{
    matrix across = {rows, 1, inputs}, g = {gradient, outputs, 1}, transposed = {weights, 1, outputs};
    product(inputs, outputs, n, across, g, of_weights, 0, scratch);
    if (of_rows)
        product(n, inputs, outputs, g, transposed, of_rows, 0, scratch);
    if (of_bias)
        sum_rows(NUMBERS, gradient, 0, of_bias, n, outputs);
}

/* Numbers of scratch memory that a product of this depth needs. */
int EXPORT(product_scratch)(int depth) { return depth * WIDE; }
