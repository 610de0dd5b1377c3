"""The composition root: the one room that knows all others. Nothing here decides anything about FHIR.

What only some processes need lies apart, so that the others need not load it: :mod:`.web` for HTTP workers and
:mod:`.feeds` for what hears and applies messages.
"""

from fhir_server.wiring.rooms import (
    RandomIds,
    Rooms,
    SystemClock,
    announcer,
    compile_rooms,
    compile_search,
    keep_complete,
    keep_current,
    load_definitions,
    open_store,
    own_bases,
    put_package_parameters,
    sole_context,
)

__all__ = (
    "RandomIds",
    "Rooms",
    "SystemClock",
    "announcer",
    "compile_rooms",
    "compile_search",
    "keep_complete",
    "keep_current",
    "load_definitions",
    "open_store",
    "own_bases",
    "put_package_parameters",
    "sole_context",
)
