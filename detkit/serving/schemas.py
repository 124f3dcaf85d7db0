"""The answers of a server as pydantic models, from which OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra='forbid')


class Segmentation(_Answer):
    """A mask in COCO's compressed run lengths."""

    size: list[int] = Field(description='height and width of the image', min_length=2, max_length=2)
    counts: str


class FoundObject(_Answer):
    """An object; of a classifier a class. What the model's task does not have is left out."""

    label: int
    name: str
    score: float
    bbox: list[float] | None = Field(None, description='x0, y0, x1, y1 in pixels')
    rbbox: list[float] | None = Field(None, description='centre x and y, width, height, angle in radians, clockwise')
    corners: list[float] | None = Field(None, description='x and y of the four corners of the rotated box')
    keypoints: list[list[float]] | None = Field(None, description='x, y and score of each keypoint')
    segmentation: Segmentation | None = None
    values: dict[str, Any] | None = Field(
        None, description="what a head of the model's own says of the object, by name"
    )


class ImageResult(_Answer):
    """The predictions on an image, best first."""

    img_path: str = Field(description="the image's name as it was sent, without folders")
    img_shape: list[int] | None = Field(description='height and width; null where the image could not be read')
    error: str | None = Field(description='why the image could not be read')
    objects: list[FoundObject]


class Predictions(_Answer):
    """The results of a request, in the order of its images."""

    results: list[ImageResult]


class Problem(_Answer):
    """A request that was not answered, and why."""

    error: str


class Health(_Answer):
    """Whether the server takes requests."""

    status: str = Field(description="'ready', 'stopping' or 'stuck'")


class Info(_Answer):
    """The model and the limits of the server."""

    model: str
    task: str
    classes: list[str]
    keypoints: list[str]
    skeleton: list[list[int]]
    licence: str
    device: str
    img_size: int
    thresholds: dict[str, float]
    limits: dict[str, int]
    versions: dict[str, str]
