"""What reconciliation has corrected in a study, to be laid over its objects when they go out (IHE RAD PIR)."""

from adapters.dicom.model import Attributes, Study


def overlay_of(study: Study) -> Attributes | None:
    """Return the elements to write over those of the stored objects, None for none; a removed one is None in it."""
    if not study.original:
        return None
    return {tag: study.attributes.get(tag) for tag in study.original}


def laid_over(attributes: Attributes, overlay: Attributes) -> Attributes:
    """Return the attributes of an object as the correction says them, in the order of tags."""
    merged = {**attributes, **overlay}
    return {tag: element for tag, element in sorted(merged.items()) if element is not None}
