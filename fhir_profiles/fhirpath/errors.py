"""What can be wrong with a FHIRPath expression or its evaluation."""


class FHIRPathError(ValueError):
    """`kind` is `syntax` (does not parse), `semantic` (cannot mean anything), `execution` (fails on this data) or `limit`."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


def syntax(message: str) -> FHIRPathError:
    return FHIRPathError("syntax", message)


def semantic(message: str) -> FHIRPathError:
    return FHIRPathError("semantic", message)


def execution(message: str) -> FHIRPathError:
    return FHIRPathError("execution", message)


def limit(message: str) -> FHIRPathError:
    return FHIRPathError("limit", message)
