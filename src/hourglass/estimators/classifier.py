"""The deep convolutional classifier with scikit-learn's interface."""

from dataclasses import dataclass

from hourglass.estimators.checks import check_choice, check_norm, check_number
from hourglass.estimators.classifier_base import Classifier
from hourglass.nn import ACTIVATIONS, KERNEL_INITS, ConvNet
from hourglass.nn.norms import NormFactory, norm_in_words


@dataclass(kw_only=True, eq=False, repr=False)
class ConvClassifier(Classifier):
    """Deep stack of 3×3 convolutions, with batch normalisation or without.

    Convolution *d* has ``width · d`` channels and stride 2 where *d* is a multiple of 3; a dense layer of 100
    and the output follow.

    Parameters
    ----------
    depth : int, default=6
        Number of convolutions; the lesson's network has 19.
    width : int, default=8
        Channels that each convolution has more than the one before; the lesson's network has 4.
    norm : str or callable, default="batch"
        Normalisation before each activation: ``"batch"``, PyTorch's batch normalisation; ``"batch-manual"``, the same
        written out; ``"layer"``, ``"group"`` and ``"instance"``, those of each image by itself; ``"ghost"``, ghost
        batch normalisation; ``"renorm"``, batch renormalisation; or ``"none"``. In training by several processes
        ``"batch-manual"`` takes the moments of the whole batch, and ``"batch-manual-local"`` those of each process's
        part. A class or function of the number of
        channels makes layers of your own, each a ``torch.nn.Module`` that takes maps ``(n, channels, h, w)`` and rows
        ``(n, channels)``; :func:`hourglass.check_batch_norm` tries such a class. The model can then not be saved.
    norm_momentum : float, default=0.1
        Share of the new batch in the moving statistics (PyTorch's convention; TensorFlow's 0.99 is 0.01). Unused by a
        normalisation of your own.
    kernel_init : {"glorot", "he", "truncated-normal"} or float, default="glorot"
        Distribution of the convolutions' first weights: Glorot's, He's, N(0, 0.05²) cut at two deviations, or N(0, σ²)
        for a number σ.
    activation : {"relu", "sigmoid", "tanh"}, default="relu"
        Activation after every layer but the last.
    loss : {"softmax", "bce"}, default="softmax"
        Cross-entropy of a softmax, or of independent sigmoids against one-hot labels.
    class_weight : dict, "balanced" or None, default=None
        Weight of each label in the loss, 1 where the dictionary has none; ``"balanced"`` weighs by the inverse of how
        often a label is among the images of the call.
    image_shape : tuple of int, optional
        Height, width and channels of flat input; by default seen from the array.
    epochs : float, optional
        Passes over the training images; by default as many as make 500 steps, and at least one.
    n_steps : int, optional
        Steps of training, each with one batch; where it is given, ``epochs`` is not looked at.
    batch_size : int, default=64
        Images in a batch; all of them where there are fewer.
    learning_rate : float, default=0.01
        Learning rate of the optimiser at the peak of the schedule.
    continue_learning_rate : float, optional
        Learning rate of ``partial_fit``, and of ``fit`` with ``warm_start``, when they continue from trained weights.
        After a schedule that decays it is by default a tenth of ``learning_rate``, which does not harm a good
        network; otherwise it is ``learning_rate``.
    warm_start : bool, default=False
        Whether ``fit`` continues from the weights and the optimiser's state of the last call, if there was one; by
        default it draws new weights.
    optimiser : str, default="adam"
        Name in :data:`hourglass.training.OPTIMISERS`: ``"adam"``, Adam as TensorFlow computes it; ``"sgd"`` and
        ``"sgd-momentum"``, plain stochastic gradient descent and that with momentum 0.9, which need larger learning
        rates; ``"adamw"``, Adam with a weight decay of 0.01.
    schedule : {"one-cycle", "linear", "constant"}, default="one-cycle"
        How the learning rate changes over the steps.
    validation_fraction : float, optional
        Share of the training images, in (0, 1), that is held out; its loss is recorded. By default none.
    patience : int, optional
        Validations in a row without a new best loss after which training stops; the best weights are kept. It
        needs held-out images. By default training does all its steps.
    report_every : int, optional
        Steps from one report of the training loss to the next, beginning with the first; by default an epoch.
    validate_every : int, optional
        Steps from one validation to the next; by default as ``report_every``.
    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Number type of forward passes; ``auto`` takes bfloat16 where the processor has it and the network gains.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"
        Where to compute; ``auto`` takes the GPU where there is one.
    random_state : int or numpy.random.RandomState, optional
        Seeds weights, order and noise; None draws from the system's entropy. NumPy's and PyTorch's global
        states are not used.
    verbose : int, default=0
        1 shows progress on standard error.
    deterministic : bool, default=False
        Whether a repeated training gives the same weights, bit for bit: with the same seed, data and number of
        threads, on the same machine, with the same PyTorch. On a CPU it always does. On CUDA this costs speed.
    checkpoint_dir : path-like, optional
        Folder of this one training. ``fit`` writes its state there now and then and at its end, and resumes from it,
        bit for bit, when it is called again with the same parameters and images. It needs an int as
        ``random_state``. SIGINT and SIGTERM then wait for the step. The folder stays after training.
    checkpoint_every : str or float, default="60s"
        Interval between checkpoints: ``"60s"``, ``"500steps"`` or ``"1epochs"``; ``"never"`` leaves the one at the end.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
        Labels as they were given to ``fit``.
    network_ : torch.nn.Module
        The network in inference mode; it takes images as ``(n, c, h, w)``.
    image_shape_ : tuple of int
        Height, width and channels of the images.
    n_features_in_ : int
        Number of values in an image, the product of ``image_shape_``.
    pixel_range_ : tuple of float
        Smallest and largest pixel of the images in ``fit``, after bytes were divided by 255.
    feature_names_in_ : ndarray of str
        Names of the columns, if ``X`` was a data frame.
    history_ : History
        Record of the last call of ``fit`` or ``partial_fit``.
    n_steps_ : int
        Number of training steps since the weights were drawn.
    dead_units_ : dict of str to pair of int
        For each layer with ReLU, how many of its units give 0 for all of the first 256 training images, and how many
        units it has.
    partly_trained_ : estimator
        After KeyboardInterrupt in ``fit`` or ``partial_fit``: a copy with the network as it was then. The estimator
        itself is what it was before the call.
    train_seconds_ : float
        Time of the training in seconds, without reports.
    images_per_second_ : float or None
        Speed of the training, without its first 20 steps; None if there were no more.
    device_, precision_ : str
        Device and number type that the training used.
    notes_ : dict
        Notes that :func:`hourglass.save` was given, if the model was read from a folder.
    """

    depth: int = 6
    width: int = 8
    norm: str | NormFactory = "batch"
    norm_momentum: float = 0.1
    kernel_init: str | float = "glorot"
    activation: str = "relu"

    _network_parameters = ("depth", "width", "norm", "norm_momentum", "activation")

    @property
    def _bfloat16_pays(self) -> bool:
        # The moments of a batch are computed in float32, and the casts cost more than the convolutions gain.
        return self.norm == "none"

    def check_parameters(self) -> None:
        """Check every parameter; ``fit`` does it first.

        Raises
        ------
        ValueError
            When a parameter is out of its range.
        """
        super().check_parameters()
        check_number("depth", self.depth, whole=True)
        check_number("width", self.width, whole=True)
        check_norm(self.norm, self.norm_momentum, self.checkpoint_dir)
        if isinstance(self.kernel_init, str):
            check_choice("kernel_init", self.kernel_init, KERNEL_INITS)
        else:
            check_number("kernel_init", self.kernel_init)
        check_choice("activation", self.activation, ACTIVATIONS)

    def _build(self) -> ConvNet:
        return ConvNet(
            self.image_shape_,
            len(self.classes_),
            depth=self.depth,
            width=self.width,
            norm=self.norm,
            norm_momentum=self.norm_momentum,
            kernel_init=self.kernel_init,
            activation=self.activation,
        )

    @property
    def _least_tensors(self) -> int:
        return self.depth

    @property
    def title(self) -> str:
        """Line that says what kind of network is trained, and its size."""
        return f"{self.depth + 1}-layer classifier {norm_in_words(self.norm)}"
