"""Search parameters of added packages: put into the store as resources, and so in force like any that was POSTed.

The store then says for everyone which parameters exist, and one that is new is indexed for before it is searched.
"""

import logging
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from fhir_server.core import json
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.query import Key
from fhir_server.core.request import FhirRequest, Interaction
from fhir_server.interactions import activation
from fhir_server.interactions.door import Door

_log = logging.getLogger(__name__)


def key_of(url: str) -> Key:
    """Return the key under which the parameter with this canonical URL is kept."""
    return Key(activation.TYPE, f"package-{blake2b(url.encode(), digest_size=12).hexdigest()}")


async def put_published(door: Door, trees: Iterable[Mapping[str, Any]]) -> list[Key]:
    """Put each SearchParameter (but retired ones) into the store, active; return those that are there now.

    One that is refused is named in the log. Nothing is written where nothing has changed.
    """
    await door.refresh()
    done = []
    for tree in trees:
        if tree.get("status") == "retired":
            continue
        url = str(tree["url"])
        if any(parameter.url == url and id_ != key_of(url).id for id_, parameter in door.context.in_force.items()):
            continue  # somebody has posted it
        key = key_of(url)
        resource = {**tree, "id": key.id, "status": "active"}
        request = FhirRequest(
            interaction=Interaction.UPDATE,
            resource_type=key.type,
            id=key.id,
            method="PUT",
            resource=resource,
            body=json.encode(resource),
            request_id=f"package parameter {url}",
        )
        response = await door.handle(request)
        if response.status < 300:
            done.append(key)
        elif response.status == 503:
            raise StoreUnavailable("the search parameters of the packages could not be stored")
        else:
            issues = json.decode(b"".join(response.body)).get("issue", ())
            why = "; ".join(str(issue.get("diagnostics")) for issue in issues)
            _log.warning("the search parameter %s of a package is not in force: %s", url, why)
    return done
