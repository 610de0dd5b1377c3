"""Entries of transactions for resources that were read, which must not have changed since."""

from typing import Any

Tree = dict[str, Any]  # a FHIR resource, or another object in JSON


def put(tree: Tree) -> Tree:
    """Return the entry that writes a resource under its id, at the version that its meta says if there is one."""
    asked = {"method": "PUT", "url": f"{tree['resourceType']}/{tree['id']}"}
    if version := tree.get("meta", {}).get("versionId"):
        asked["ifMatch"] = f'W/"{version}"'
    return {"resource": tree, "request": asked}


def delete(tree: Tree) -> Tree:
    """Return the entry that deletes a resource."""
    asked = {"method": "DELETE", "url": f"{tree['resourceType']}/{tree['id']}"}
    if version := tree.get("meta", {}).get("versionId"):
        asked["ifMatch"] = f'W/"{version}"'
    return {"request": asked}
