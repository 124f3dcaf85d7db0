"""Pictures drawn by the package itself, with exact annotations: for first runs, tests and demonstrations offline."""

from .backdrops import Backdrop, Zone
from .canvas import Canvas, Sprite
from .compose import Placement, RenderedObject, RenderedScene, compose
from .outlines import join, trace
from .scenes import DRAWERS, populate

__all__ = [
    'DRAWERS',
    'Backdrop',
    'Canvas',
    'Placement',
    'RenderedObject',
    'RenderedScene',
    'Sprite',
    'Zone',
    'compose',
    'join',
    'populate',
    'trace',
]
