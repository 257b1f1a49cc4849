/* Batch normalisation of rows (n, channels); the pixels of images are rows. */

#include "engine.h"

/* Mean and biased variance of each channel over all rows. */
void EXPORT(moments)(const real *rows, real *mean, real *variance, int n, int channels)
{
    sum_rows(NUMBERS, rows, 0, mean, n, channels);
    for (int c = 0; c < channels; c++)
        mean[c] /= n;
    sum_rows(SQUARED_DISTANCES, rows, mean, variance, n, channels);
    for (int c = 0; c < channels; c++)
        variance[c] /= n;
}

/* Normalise each channel by a mean and a variance, then scale and shift. `normalised` keeps the middle step. `scratch`
has room for `channels` numbers. */
void EXPORT(normalise)(const real *rows, const real *mean, const real *variance, const real *gamma, const real *beta,
                       real epsilon, real *normalised, real *to, real *scratch, int n, int channels)
{
    for (int c = 0; c < channels; c++)
        scratch[c] = 1 / ROOT(variance[c] + epsilon);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < channels; c++) {
            real value = (rows[i * channels + c] - mean[c]) * scratch[c];
            normalised[i * channels + c] = value;
            to[i * channels + c] = gamma[c] * value + beta[c];
        }
}

/* Gradients of a normalisation by the batch's own moments. Source: Ioffe and Szegedy, ICML 2015, section 3. */
void EXPORT(normalise_back)(const real *normalised, const real *variance, const real *gamma, real epsilon,
                            const real *gradient, real *of_gamma, real *of_beta, real *of_rows, real *scratch, int n,
                            int channels)
{
    sum_rows(NUMBERS, gradient, 0, of_beta, n, channels);
    sum_rows(PRODUCTS, gradient, normalised, of_gamma, n, channels);
    real share = (real)1 / n;
    for (int c = 0; c < channels; c++)
        scratch[c] = gamma[c] / ROOT(variance[c] + epsilon);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < channels; c++) {
            int at = i * channels + c;
            of_rows[at] = scratch[c] * (gradient[at] - share * (of_beta[c] + normalised[at] * of_gamma[c]));
        }
}

/* Move stored statistics towards those of a batch by a share `momentum`. The stored variance is multiplied by
`correction` first: n / (n - 1) for Bessel's, 1 for none. */
void EXPORT(move)(real *stored, const real *batch, real momentum, real correction, int channels)
{
    for (int c = 0; c < channels; c++)
        stored[c] += momentum * (correction * batch[c] - stored[c]);
}
