"""One entry of a transaction made ready to be committed: validated, stamped, indexed, encoded."""

from typing import Any

from fhir_server.core.query import Stored
from fhir_server.core.request import Interaction
from fhir_server.interactions.context import Context
from fhir_server.interactions.delete import deletion
from fhir_server.interactions.patching import patched
from fhir_server.interactions.preconditions import check_write
from fhir_server.interactions.resolving import Item
from fhir_server.interactions.stamp import Spelling
from fhir_server.interactions.writing import is_present, make_write, unchanged, validate


def stage(context: Context, item: Item, updated: int, text: str) -> None:
    """Fill in ``item.writes`` (none where nothing changes) and what will be answered; raise what is wrong with it."""
    request = item.entry.request
    interaction = request.interaction
    item.writes = ()
    if interaction is Interaction.CREATE and item.current is not None:  # conditional, and the match is there
        item.done(item.current, 200)
        return
    if interaction is Interaction.DELETE:
        _stage_delete(item)
        return
    if interaction is not Interaction.CREATE:
        check_write(request.preconditions, item.current)
    tree = item.tree
    if interaction is Interaction.PATCH:
        assert item.current is not None
        assert request.patch_format is not None
        tree = patched(context, item.current, request.patch_format, item.patch)
    validate(context, tree)
    _stage_content(context, item, tree, updated, text)


def _stage_delete(item: Item) -> None:
    for current in item.doomed:
        check_write(item.entry.request.preconditions, current)
    if not item.doomed:
        check_write(item.entry.request.preconditions, item.current)
    item.writes = tuple(deletion(current) for current in item.doomed)
    last = item.doomed[0] if len(item.doomed) == 1 else None
    item.deleted(None if last is None else last.version + 1)


def _stage_content(context: Context, item: Item, tree: dict[str, Any], updated: int, text: str) -> None:
    current = item.current
    status = 200 if is_present(current) else 201
    spelling = item.spelling if item.spelling is not None and tree is item.entry.request.resource else Spelling(tree)
    if current is not None and unchanged(spelling, current):
        item.done(current, 200)
        return
    version = current.version + 1 if current else 1
    assert item.key is not None
    write = make_write(context, item.key, tree, spelling, version, text, item.entry.request.method)
    item.writes = (write,)
    item.done(Stored(item.key, version, updated, write.content, write.method), status)
