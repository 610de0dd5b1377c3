"""The commands of ``renkei``, one module each; none of them decides anything about FHIR."""
