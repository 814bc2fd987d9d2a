"""The one error of everything that reads bytes from the network."""


class WireError(ValueError):
    """Bytes that are not what they should be; the text says what and where."""
