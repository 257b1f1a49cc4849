/* Losses, with their gradients, and optimisers. */

#include "engine.h"

#define LN2_HIGH 6.93147180369123816490e-01 /* the upper 33 bits of ln 2, so that whole multiples of it are exact */
#define LN2_LOW 1.90821492927058770002e-10

/* 2^k e^r for x = k ln 2 + r, with Taylor's polynomial of degree 13 for |r| <= ln 2 / 2: exact to 2e-16. */
double exponential(double x)
{
    if (x < -708)
        return 0;
    if (x > 709)
        x = 709;
    int k = (int)(x * 1.4426950408889634 + (x < 0 ? -0.5 : 0.5));
    double r = x - k * LN2_HIGH - k * LN2_LOW, sum = 1;
#pragma unroll
    for (int i = 13; i > 0; i--)
        sum = 1 + sum * r / i;
    union {
        long long bits;
        double value;
    } power = {(long long)(k + 1023) << 52};
    return sum * power.value;
}

/* 2 artanh(z) for z = x / (2 + x) <= 1/3, with its power series up to z^33: exact to 2e-16. */
double log_of_1_plus(double x)
{
    double z = x / (2 + x), square = z * z, sum = 0;
#pragma unroll
    for (int i = 33; i > 0; i -= 2)
        sum = sum * square + 1.0 / i;
    return 2 * z * sum;
}

/* Mean sigmoid cross-entropy of logits, and its gradient. */
double EXPORT(cross_entropy)(const real *logits, const real *targets, real *gradient, int size)
{
    double sum = 0;
    for (int i = 0; i < size; i++) {
        double z = logits[i], small = exponential(z < 0 ? z : -z);
        sum += (z > 0 ? z : 0) - z * targets[i] + log_of_1_plus(small);
        gradient[i] = (real)(((z < 0 ? small : 1) / (1 + small) - targets[i]) / size);
    }
    return sum / size;
}

/* Mean squared error, and its gradient. */
double EXPORT(squared_error)(const real *outputs, const real *targets, real *gradient, int size)
{
    double sum = 0;
    for (int i = 0; i < size; i++) {
        double difference = (double)outputs[i] - targets[i];
        sum += difference * difference;
        gradient[i] = (real)(2 * difference / size);
    }
    return sum / size;
}

/* Adam with epsilon outside the bias correction, as TensorFlow's. `rate` is the learning rate, already corrected.
Source: Kingma and Ba, ICLR 2015, the form at the end of section 2. */
void EXPORT(adam)(real *weights, const real *gradient, real *mean, real *square, int size, double rate, double beta1,
                  double beta2, double epsilon)
{
    real share1 = (real)(1 - beta1), share2 = (real)(1 - beta2); /* rounded once: beta2 itself has too few digits left */
    for (int i = 0; i < size; i++) {
        mean[i] += share1 * (gradient[i] - mean[i]);
        square[i] += share2 * (gradient[i] * gradient[i] - square[i]);
        weights[i] -= (real)rate * mean[i] / (ROOT(square[i]) + (real)epsilon);
    }
}

/* Stochastic gradient descent. */
void EXPORT(descend)(real *weights, const real *gradient, int size, real rate)
{
    for (int i = 0; i < size; i++)
        weights[i] -= rate * gradient[i];
}
