"""The archive of objects: kept in packs, indexed together with their FHIR resources, found, corrected, removed."""
