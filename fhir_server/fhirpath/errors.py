"""What can go wrong with a FHIRPath expression."""


class FhirPathError(ValueError):
    """The expression cannot be evaluated; the message never quotes data."""


class FhirPathSyntaxError(FhirPathError):
    """The text is not FHIRPath."""

    def __init__(self, expression: str, position: int, problem: str) -> None:
        super().__init__(f"FHIRPath: {problem} at position {position} of '{expression[:200]}'")
        self.position = position


class UnknownAnswerError(FhirPathError):
    """The answer depends on a service that is not there: a terminology, a profile or another resource."""
