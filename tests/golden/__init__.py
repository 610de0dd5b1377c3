"""Published and hand-written cases: whole messages through the feed, and what of them FHIR shows."""
