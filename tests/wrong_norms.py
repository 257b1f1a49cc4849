"""Batch normalisations as learners write them: right ones, and one for each usual mistake."""

import torch
from torch import nn

from learners_norms import (
    CorrectedAverages,
    Float32Inside,
    MapsAlone,
    Right,
    RowsAlone,
    always,
    buffers,
    by_hand,
    by_view,
    changed,
    changes_input,
    detached,
    forward_with_graph,
    gradient_of_buffers,
    initial,
    learnt_statistics,
    moments_over,
    normalised_by_batch,
    plain_tensors,
    rows_as_layers,
    squares_less_square,
    unbiased,
    update_by,
    updating_in_inference,
    with_batch_moments_in_inference,
    with_moving_statistics_in_training,
)

SHARED = Right(3)
RIGHT = {
    "as a learner writes it": Right,
    "maps alone": MapsAlone,
    "rows alone": RowsAlone,
    "float32 inside": Float32Inside,
    "averages of all batches alike": CorrectedAverages,
    "gradient by hand": by_hand(None),
    "epsilon of TensorFlow": changed(eps=1e-3, momentum=0.01),
    "gamma as a deviation from 1": type(
        "Deviation",
        (Right,),
        {
            "__init__": lambda self, c: (Right.__init__(self, c), nn.init.zeros_(self.gamma))[0],
            "affine": lambda self, y, x: self.shaped(1 + self.gamma, x) * y + self.shaped(self.beta, x),
        },
    ),
    "unbiased variance stored": changed(
        forward=lambda self, x: (
            Right.forward(self, x)
            if not self.training
            else (
                self.update(x.mean(self.dims(x)).detach(), x.var(self.dims(x)).detach()),
                normalised_by_batch(self, x),
            )[1]
        )
    ),
    "squares less square": changed(moments=squares_less_square),
}

WRONG = {
    # name: class, part, words of the diagnosis
    "no argument": (lambda: Right(3), "construction", "__init__ has to take one number"),
    "one layer": (lambda channels: SHARED, "construction", "make a new one in each call"),
    "no module": (lambda channels: torch.ones(channels), "construction", "derive the class from torch.nn.Module"),
    "raises": (changed(forward=lambda self, x: x.nothing), "output", "AttributeError"),
    "no return": (changed(forward=lambda self, x: None), "output", "forward has to end with `return`"),
    "lost axis": (changed(forward=lambda self, x: Right.forward(self, x).mean(0)), "output", "lost or gained an axis"),
    "NaN": (changed(eps=-100.0), "output", "root of a negative number"),
    "input changed": (changed(forward=changes_input), "output", "operation in place"),
    "no gamma": (
        changed(affine=lambda self, y, x: y + self.shaped(self.beta, x)),
        "gamma and beta",
        "gamma is missing",
    ),
    "no beta": (changed(affine=lambda self, y, x: y * self.shaped(self.gamma, x)), "gamma and beta", "beta is missing"),
    "gamma not learnable": (initial(gamma=torch.ones), "gamma and beta", r"self.gamma = nn.Parameter\(torch.ones"),
    "beta a buffer": (initial(beta=torch.zeros), "gamma and beta", r"self.beta = nn.Parameter\(torch.zeros"),
    "gamma frozen": (
        initial(gamma=lambda c: nn.Parameter(torch.ones(c), requires_grad=False)),
        "gamma and beta",
        "requires_grad=False",
    ),
    "one gamma": (
        initial(gamma=lambda c: nn.Parameter(torch.ones(1))),
        "gamma and beta",
        "one gamma and one beta for each",
    ),
    "whole layer": (moments_over((0, 1, 2, 3), (0, 1)), "mean", "over the whole layer"),
    "layer normalisation": (moments_over((1, 2, 3), 1), "mean", "layer normalisation"),
    "instance normalisation": (moments_over((2, 3)), "mean", "instance normalisation"),
    "each pixel": (moments_over(0), "mean", "every pixel has its own mean"),
    "channels last": (moments_over((0, 1, 2)), "mean", "where the channels come last"),
    "mean not subtracted": (
        changed(forward=lambda self, x: self.affine(self.divide(x, self.moments(x)[1], x), x)),
        "mean",
        "the mean is not subtracted",
    ),
    "moving statistics in training": (changed(forward=always), "mean", "are used in training mode"),
    "updated statistics in training": (
        changed(forward=with_moving_statistics_in_training),
        "mean",
        "moving averages are used in training mode",
    ),
    "unbiased": (changed(moments=unbiased), "variance", "torch.var gives by default"),
    "no root": (
        changed(divide=lambda self, y, v, x: y / (self.shaped(v, x) + self.eps)),
        "variance",
        "the root is missing",
    ),
    "not divided": (changed(divide=lambda self, y, v, x: y), "variance", "not divided by their deviations"),
    "multiplied": (
        changed(divide=lambda self, y, v, x: y * (self.shaped(v, x) + self.eps).sqrt()),
        "variance",
        "multiplied by",
    ),
    "variance of the whole layer": (
        changed(moments=lambda self, x: (x.mean(self.dims(x)), x.var(correction=0).expand(x.shape[1]))),
        "variance",
        "over the whole layer",
    ),
    "epsilon outside": (
        changed(divide=lambda self, y, v, x: y / (self.shaped(v, x).sqrt() + self.eps)),
        "epsilon",
        "outside the root",
    ),
    "TensorFlow's epsilon outside": (
        changed(divide=lambda self, y, v, x: y / (self.shaped(v, x).sqrt() + self.eps), eps=1e-3),
        "epsilon",
        "outside the root",
    ),
    "no epsilon": (changed(eps=0.0), "epsilon", "epsilon is missing"),
    "large epsilon": (changed(eps=0.3), "epsilon", "take 1e-5 or 1e-3"),
    "limit": (
        changed(divide=lambda self, y, v, x: y / self.shaped(v, x).clamp(min=self.eps).sqrt()),
        "epsilon",
        "lower limit",
    ),
    "gamma starts at 0": (
        initial(gamma=lambda c: nn.Parameter(torch.zeros(c))),
        "initial values",
        "gamma starts at 0, 0, 0",
    ),
    "gamma random": (
        initial(gamma=lambda c: nn.Parameter(torch.randn(c))),
        "initial values",
        r"torch.ones\(channels\)",
    ),
    "beta starts at 1": (
        initial(beta=lambda c: nn.Parameter(torch.ones(c))),
        "initial values",
        r"torch.zeros\(channels\)",
    ),
    "shift before scale": (
        changed(affine=lambda self, y, x: self.shaped(self.gamma, x) * (y + self.shaped(self.beta, x))),
        "scale and shift",
        "multiply first, then add",
    ),
    "wrong channels": (
        changed(affine=lambda self, y, x: self.shaped(self.gamma.flip(0), x) * y + self.shaped(self.beta, x)),
        "scale and shift",
        "other channels than their own",
    ),
    "moments detached": (detached("both"), "gradient", "mean and variance are taken for constant"),
    "variance detached": (detached("variance"), "gradient", "the variance is taken for constant"),
    "mean detached": (detached("mean"), "gradient", "the mean is taken for constant"),
    "no gradient": (
        changed(forward=lambda self, x: Right.forward(self, x.detach())),
        "gradient",
        "no gradient reaches the input",
    ),
    "cut": (changed(forward=lambda self, x: Right.forward(self, x).detach()), "gradient", "cuts the graph"),
    "backward without gamma": (by_hand("gamma"), "gradient", "lacks the factor gamma"),
    "backward reversed": (by_hand("sign"), "gradient", "a backward of your own computes something else"),
    "gamma's gradient averaged": (by_hand("mean"), "gradient", "the mean is taken in place of the sum"),
    "beta's gradient averaged": (by_hand("beta"), "gradient", "the gradient of beta is sum"),
    "batch moments in inference": (
        changed(forward=with_batch_moments_in_inference),
        "inference",
        "inference uses the moments of the batch itself",
    ),
    "updated in inference": (changed(forward=updating_in_inference), "inference", "updated in inference mode too"),
    "mean starts at 1": (buffers(moving_mean=torch.ones), "moving mean", "starts at 0"),
    "never updated": (changed(update=lambda self, mean, var: None), "moving mean", "not updated in training mode"),
    "wrong way round": (update_by(0.9, 0.9), "moving mean", "momentum is the wrong way round"),
    "TensorFlow's 0.99": (changed(momentum=0.99), "moving mean", "momentum is the wrong way round"),
    "mean of the layer averaged": (
        changed(update=lambda self, m, v: Right.update(self, m.mean().expand(len(m)), v)),
        "moving mean",
        "not the mean of each channel",
    ),
    "variance starts at 0": (buffers(moving_var=torch.zeros), "moving variance", "starts at 1"),
    "variance never updated": (update_by(0.1, 0.0), "moving variance", "not updated in training mode"),
    "variance the wrong way round": (update_by(0.1, 0.9), "moving variance", "wrong way round for the variance"),
    "deviation averaged": (update_by(power=0.5), "moving variance", "the deviation is averaged"),
    "old variance kept": (update_by(keep=True), "moving variance", "the old variance is kept whole"),
    "plain tensors": (plain_tensors, "state", "register_buffer"),
    "learnt statistics": (learnt_statistics, "state", "made by nn.Parameter"),
    "buffers with gradients": (gradient_of_buffers, "state", "moving_mean has requires_grad=True"),
    "graph of former steps": (changed(forward=forward_with_graph), "state", r"outside torch.no_grad\(\)"),
    "rows by themselves": (changed(forward=rows_as_layers), r"rows \(n, c\)", "the other kind of input only"),
    "view": (changed(forward=by_view), "channels last", "write x.reshape"),
}
