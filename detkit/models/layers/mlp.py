"""``MLP``: linear layers with an activation between them."""

from __future__ import annotations

from torch import Tensor, nn

from .conv_module import Activation, build_activation
from .linear import Linear
from .packed import activated
from .precision import full_precision, type_of_weights


class MLP(nn.Module):
    """Linear layers with an activation between them: ``(..., in_dims) -> (..., out_dims)``.

    Args:
        in_dims, hidden_dims, out_dims: widths before, between and after the layers.
        num_layers: at least 1.
        act: the activation, see ``ConvModule``.
    """

    def __init__(
        self, in_dims: int, hidden_dims: int, out_dims: int, num_layers: int, act: Activation = 'ReLU'
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f'an MLP has at least 1 layer, not {num_layers}; write a greater number of layers')
        widths = (in_dims, *[hidden_dims] * (num_layers - 1), out_dims)
        self.layers = nn.ModuleList(
            Linear(before, after) for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        self.act = build_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = activated(layer, self.act, x)
        return self.layers[-1](x)


class PreciseMLP(MLP):
    """An MLP whose last layer computes in full precision, for outputs that are coordinates.

    Within autocast the layers before compute in half precision, whose errors average out in the last.
    """

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = activated(layer, self.act, x)
        last = self.layers[-1]
        with full_precision(x):
            return last(x.to(type_of_weights(last)))
