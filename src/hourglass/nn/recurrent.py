"""A long short-term memory with recurrent batch normalisation."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn.batchnorm import FrameworkBatchNorm
from hourglass.nn.layers import Dense
from hourglass.nn.shapes import check_counts
from hourglass.runtime.internals import OnlyTraced, shape_of


class StepNorm(OnlyTraced, nn.Module):
    """Batch normalisation of a sequence: moving statistics for each time step, one scale and shift for all.

    Parameters
    ----------
    num_features : int
        Numbers in each step.
    steps : int
        Time steps with statistics of their own; later ones use those of the last.
    gamma : float
        Start of the scale.
    eps : float, default=1e-5
        Added to the variance.
    momentum : float in [0, 1] or None, default=0.1
        Share of the new batch in the moving statistics; None averages all batches alike.
    shift : bool, default=False
        Whether there is a shift, ``beta``.
    """

    beta: nn.Parameter | None

    def __init__(
        self,
        num_features: int,
        steps: int,
        gamma: float,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        shift: bool = False,
    ) -> None:
        super().__init__()
        self.start = gamma
        self.gamma = nn.Parameter(torch.empty(num_features))
        self.register_parameter("beta", nn.Parameter(torch.empty(num_features)) if shift else None)
        self.steps = nn.ModuleList(FrameworkBatchNorm(num_features, eps, momentum, affine=False) for _ in range(steps))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Set the scale to its start, the shift to 0, and the moving statistics to 0 and 1."""
        nn.init.constant_(self.gamma, self.start)
        if self.beta is not None:
            nn.init.zeros_(self.beta)
        for step in self.steps:
            cast(FrameworkBatchNorm, step).reset_parameters()

    def forward(self, x: Tensor, step: int) -> Tensor:
        """Rows ``(n, num_features)`` of a time step, counted from 0."""
        normalised: Tensor = self.gamma * self.steps[min(step, len(self.steps) - 1)](x)
        return normalised if self.beta is None else normalised + self.beta


class LSTMClassifier(OnlyTraced, nn.Module):
    """Classifier of sequences by the last state of an LSTM, batch-normalised or plain.

    Source: Cooijmans, Ballas, Laurent, Gülçehre and Courville, "Recurrent Batch Normalization", ICLR 2017, eqs. 6-8:
    ``gates = BN(W_h h; γ_h) + BN(W_x x; γ_x) + b``, ``c = σ(f) c + σ(i) tanh(g)``, ``h = σ(o) tanh(BN(c; γ_c, β_c))``.
    Every time step has moving statistics of its own, gammas and beta are shared by all. Weights start as in the paper:
    ``W_x`` orthogonal, ``W_h`` four identities, and of the plain network too.

    Parameters
    ----------
    features : int
        Numbers in each step.
    hidden : int, default=100
        Units.
    classes : int, default=10
        Number of outputs.
    steps : int, default=28
        Time steps with statistics of their own; later ones use those of the last.
    gamma : float, optional
        Start of every gamma; the paper's 0.1 keeps tanh from saturating. None leaves normalisation out, and with it
        momentum, eps and noise.
    momentum : float in [0, 1] or None, default=0.1
        Share of the new batch in the moving statistics; None averages all batches alike.
    eps : float, default=1e-5
        Added to the variance; 0 or more.
    noise : float, default=0.1
        Standard deviation of the normal first hidden state in training, 0 or more, as in the authors' program; in
        inference the first hidden state is 0. Where all sequences begin alike, as images with blank first rows do, the
        first steps would otherwise have no variance but that of rounding and of rare exceptions, and moving statistics
        of it would mislead inference.

    Raises
    ------
    ValueError
        When an argument is out of its range; from the forward pass when the input has another shape than it takes.
    """

    def __init__(
        self,
        features: int,
        hidden: int = 100,
        classes: int = 10,
        *,
        steps: int = 28,
        gamma: float | None = 0.1,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        check_counts(features=features, hidden=hidden, classes=classes, steps=steps)
        if not 0 <= noise < float("inf"):
            raise ValueError(f"noise={noise}; expected a standard deviation, 0 or more")
        self.features = features
        self.hidden, self.steps, self.gamma = hidden, steps, gamma
        self.noise = noise
        self.from_input = nn.Parameter(torch.empty(4 * hidden, features))
        self.from_hidden = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))
        self.output = Dense(hidden, classes)
        if gamma is not None:
            self.norm_input = StepNorm(4 * hidden, steps, gamma, eps=eps, momentum=momentum)
            self.norm_hidden = StepNorm(4 * hidden, steps, gamma, eps=eps, momentum=momentum)
            self.norm_cell = StepNorm(hidden, steps, gamma, eps=eps, momentum=momentum, shift=True)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every weight anew, and set the moving statistics to 0 and 1.

        Parameters
        ----------
        generator : torch.Generator, optional
            Draws the weights; by default PyTorch's global one.
        """
        nn.init.orthogonal_(self.from_input, generator=generator)
        with torch.no_grad():
            self.from_hidden.copy_(torch.eye(self.hidden).repeat(4, 1))
        nn.init.zeros_(self.bias)
        self.output.reset_parameters(generator)
        for norm in self.children():
            if isinstance(norm, StepNorm):
                norm.reset_parameters()

    def forward(self, sequences: Tensor) -> Tensor:
        """Classify sequences.

        Parameters
        ----------
        sequences : torch.Tensor of shape (n, steps, features) or (n, 1, steps, features)
            Sequences, or images of one channel that are read row by row.

        Returns
        -------
        torch.Tensor of shape (n, classes)
            Logits.

        Raises
        ------
        ValueError
            When the sequences have another shape.
        """
        output: Tensor = self.output(self.hidden_states(sequences)[-1])
        return output

    def hidden_states(self, sequences: Tensor) -> list[Tensor]:
        """Read sequences, and keep the hidden state after each step.

        Parameters
        ----------
        sequences : torch.Tensor of shape (n, steps, features) or (n, 1, steps, features)
            Sequences, or images of one channel that are read row by row.

        Returns
        -------
        list of torch.Tensor of shape (n, hidden)
            One for each step.

        Raises
        ------
        ValueError
            When the sequences have another shape.
        """
        shape = shape_of(sequences)
        images = sequences.dim() == 4 and shape[1] == 1
        if (sequences.dim() != 3 and not images) or shape[-1] != self.features or shape[-2] == 0:
            raise ValueError(
                f"sequences have shape {tuple(shape)}; expected (n, steps, {self.features}) with one step or more, or "
                f"images (n, 1, height, {self.features}) of one channel"
            )
        x = sequences[:, 0] if images else sequences
        n, steps = x.shape[0], shape[-2]
        inputs = F.linear(x, self.from_input)  # (n, steps, 4 · hidden)
        hidden, cell = x.new_zeros(n, self.hidden), x.new_zeros(n, self.hidden)
        if self.training and self.gamma is not None and self.noise > 0:
            hidden = self.noise * torch.randn_like(hidden)
        states = []
        for step in range(steps):
            given = self._normalise("input", inputs[:, step], step)
            gates = given + self._normalise("hidden", F.linear(hidden, self.from_hidden), step) + self.bias
            forget, enter, out, candidate = gates.chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
            hidden = torch.sigmoid(out) * torch.tanh(self._normalise("cell", cell, step))  # (n, hidden)
            states.append(hidden)
        return states

    def _normalise(self, name: str, x: Tensor, step: int) -> Tensor:
        """Input of the step normalised, where there is normalisation."""
        return x if self.gamma is None else self.get_submodule(f"norm_{name}")(x, step)
