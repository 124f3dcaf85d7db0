"""An extension of Griffe that shows the default of an option where its class has a call of ``option``."""

from __future__ import annotations

from typing import Any

from griffe import Attribute, ExprCall, Extension


class OptionDefaults(Extension):
    """Signatures of option classes say ``score_thr: float | None = None``, without help texts and checks."""

    def on_attribute_instance(self, *, attr: Attribute, **kwargs: Any) -> None:
        """Replace the call of ``option`` by its first argument."""
        if isinstance(attr.value, ExprCall) and str(attr.value.function) == 'option':
            attr.value = attr.value.arguments[0]
