"""``ExportGraph``: the part of a detector that a file holds, from images to named tensors."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from detkit.export.plan import Plan
from detkit.export.settings import INPUTS
from detkit.export.suppression import suppressed
from detkit.models.layers.upsampling import BlockDeconv2d


class ExportGraph(nn.Module):
    """A detector from images as ``collate`` makes them to decoded tensors, as a tuple in the order of ``output_names``.

    Args:
        model: the detector, of which a copy is taken.
        plan: what is exported.

    Attributes:
        input_names, output_names: the names of arguments and results; the latter are known after the first call.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().float().eval().to(memory_format=torch.contiguous_format)
        if plan.half and plan.format.half_graph:
            _halve(self.model)
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        self.suppression = plan.suppression
        self.input_names = INPUTS if model.needs_img_shapes else INPUTS[:1]
        self.output_names: tuple[str, ...] = ()

    def forward(self, images: Tensor, img_shapes: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the outputs.

        Args:
            images: ``(B, 3, H, W)`` RGB from 0 to 255, uint8 or float32.
            img_shapes: ``(B, 2)`` int64 (h, w) before padding, for models that need them.
        """
        outputs = self.model.decode(images, img_shapes)
        if self.suppression is not None:
            outputs = suppressed(outputs, self.model.head, self.suppression)
        self.output_names = tuple(outputs)
        return tuple(outputs.values())

    def use_plain_deconvs(self) -> None:
        """Replace transposed convolutions that rearrange a convolution's result by equal ones of one operation."""
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, BlockDeconv2d):
                    setattr(module, name, child.plain())

    def example(self, plan: Plan) -> tuple[Tensor, ...]:
        """Return inputs to export with; one image is padded where padding matters."""
        height, width = plan.size
        shape = (plan.batch_size, 3, height, width)
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        images = images.to(getattr(torch, plan.input_type))
        if len(self.input_names) == 1:
            return (images,)
        img_shapes = torch.tensor([[height, width]] * plan.batch_size)
        img_shapes[-1, 1] = max(width - 7, 1)
        return images, img_shapes


def _halve(model: nn.Module) -> None:
    """Make a model's network compute in half precision; images are normalised, and coordinates made, in float32."""
    model.half()
    model.data_preprocessor = _HalfPreprocessor(model.data_preprocessor.float())


class _HalfPreprocessor(nn.Module):
    """A data preprocessor whose normalised images are in half precision."""

    def __init__(self, preprocessor: nn.Module) -> None:
        super().__init__()
        self._preprocessor = preprocessor

    def normalize(self, images: Tensor, img_shapes: Tensor | None = None) -> Tensor:
        """Return the images as the network takes them, see ``DetDataPreprocessor.normalize``."""
        return self._preprocessor.normalize(images, img_shapes).half()
