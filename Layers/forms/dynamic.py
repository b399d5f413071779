"""Dynamic masks: each forward pass multiplies by the masks, which may change after any step."""

from Layers.forms.weight_form import WeightForm


class Dynamic(WeightForm):
    """Masks that may change while a network trains."""
