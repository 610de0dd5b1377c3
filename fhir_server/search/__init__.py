"""FHIR search (R4 search.html): resources become index entries, parameters become query nodes; both are pure."""
