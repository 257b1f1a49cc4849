/* The arithmetic of the networks, forward and backward, on arrays in WebAssembly's memory.

Freestanding C for clang's wasm32 target, without a library. Images are (n, h, w, c), kernels (size, size, in, out),
weights of dense layers (in, out); all are contiguous. Compiled with -DDOUBLE, numbers have 64 bits, for tests against
the Python package; the page uses 32 bits.

Exported functions take pointers and sizes and check nothing: the JavaScript classes that call them do. */

#ifndef ENGINE_H
#define ENGINE_H

#ifdef DOUBLE
typedef double real;
#define LANES 2
#define ROOT __builtin_sqrt
#else
typedef float real;
#define LANES 4
#define ROOT __builtin_sqrtf
#endif

typedef real vector __attribute__((vector_size(16), aligned(sizeof(real))));

#define EXPORT(name) __attribute__((export_name(#name))) name

/* Columns of a tile of the matrix product. A product needs scratch memory for `depth * WIDE` numbers. */
#define WIDE (2 * LANES)

/* A matrix whose entry (i, j) is data[i * row + j * column]. Transposing swaps `row` and `column`. */
typedef struct {
    const real *data;
    int row, column;
} matrix;

/* to[rows, columns] = a[rows, depth] b[depth, columns], or added to what is there. */
void product(int rows, int columns, int depth, matrix a, matrix b, real *to, int add, real *scratch);

/* Add a number for each channel to all rows. */
void add_bias(const real *bias, real *rows, int n, int channels);

/* For each channel, the sum over all rows of the numbers themselves; of their squared distances from the channel's
number in `others`; or of their products with the numbers at the same places of `others`. */
enum terms { NUMBERS, SQUARED_DISTANCES, PRODUCTS };
void sum_rows(enum terms terms, const real *rows, const real *others, real *sums, int n, int channels);

/* e to the power of x. */
double exponential(double x);

/* The logarithm of 1 + x, for x in [0, 1]. */
double log_of_1_plus(double x);

#endif
