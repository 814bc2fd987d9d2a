"""A request that a room refuses."""


class Refused(Exception):
    """`code` is one of the protocol's error codes; `detail` is for developers."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail
