"""What a client can be told."""


class ClientError(Exception):
    """A call that got no answer.

    Attributes:
        code: The gRPC status code by name, such as UNAVAILABLE.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
