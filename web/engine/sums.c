/* Sums over rows. */

#include "engine.h"

#define ROWS 64     /* rows that are summed by themselves first, which keeps the rounding of float32 small */
#define CHANNELS 32 /* channels that are summed at once */

static inline void sum_terms(enum terms terms, const real *rows, const real *others, real *sums, int n, int channels)
{
    for (int c = 0; c < channels; c++)
        sums[c] = 0;
    for (int start = 0; start < n; start += ROWS)
        for (int first = 0; first < channels; first += CHANNELS) {
            int end = n - start < ROWS ? n : start + ROWS;
            int count = channels - first < CHANNELS ? channels - first : CHANNELS;
            real part[CHANNELS] = {0};
            for (int i = start; i < end; i++)
                for (int c = 0; c < count; c++) {
                    int at = i * channels + first + c;
                    if (terms == NUMBERS)
                        part[c] += rows[at];
                    else if (terms == PRODUCTS)
                        part[c] += rows[at] * others[at];
                    else {
                        real distance = rows[at] - others[first + c];
                        part[c] += distance * distance;
                    }
                }
            for (int c = 0; c < count; c++)
                sums[first + c] += part[c];
        }
}

void sum_rows(enum terms terms, const real *rows, const real *others, real *sums, int n, int channels)
{
    /* Three calls with constants, so that the compiler makes a loop for each. */
    if (terms == NUMBERS)
        sum_terms(NUMBERS, rows, others, sums, n, channels);
    else if (terms == PRODUCTS)
        sum_terms(PRODUCTS, rows, others, sums, n, channels);
    else
        sum_terms(SQUARED_DISTANCES, rows, others, sums, n, channels);
}
