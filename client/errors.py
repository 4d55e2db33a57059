"""The errors of a client. One function, `client_error`, makes them from the status of a call."""

# The call is at fault, not the moment: the same call would fail again.
REFUSALS = "FAILED_PRECONDITION INVALID_ARGUMENT NOT_FOUND OUT_OF_RANGE PERMISSION_DENIED UNAUTHENTICATED UNIMPLEMENTED"
TOO_LARGE = ("max_message_bytes", "larger than max")  # how the server and gRPC itself say it


class AddressError(ValueError):
    """An address that no server can have. Its text is one line: the address, and what is expected."""


class ClientError(Exception):
    """A call that got no answer. Its text is one line: ADDRESS: CODE: the server's words.

    Attributes:
        code: The gRPC status code by name, such as UNAVAILABLE.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)  # all of it, or it could not be unpickled
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])


class ClosedError(ClientError, ValueError):
    """The client was closed, before the call or during it. A ValueError too, as for a file that is closed."""


class UnavailableError(ClientError):
    """No server takes calls, and the time of this call was too short to wait for one."""


class DeadlineError(ClientError):
    """The time was over before the answer came."""


class OverloadedError(ClientError):
    """The server is overloaded.

    Attributes:
        retry_after: Seconds after which the server wants to be asked again; None if it did not say.
    """

    def __init__(self, code: str, text: str, retry_after: float | None = None) -> None:
        super().__init__(code, text)
        self.retry_after = retry_after


class RequestError(ClientError):
    """The server refuses the call; the same call would fail again."""


class ServerError(ClientError):
    """Any other status, such as INTERNAL."""


def client_error(address: str, code: str, words: str | None, retry_after: float | None = None) -> ClientError:
    """The error for a status, from the server or from gRPC itself."""
    text = f"{address}: {code}: {' '.join((words or '').split())}"
    if code == "RESOURCE_EXHAUSTED" and not any(words in text for words in TOO_LARGE):
        return OverloadedError(code, text, retry_after)
    if code == "RESOURCE_EXHAUSTED" or code in REFUSALS.split():
        return RequestError(code, text)
    return {"UNAVAILABLE": UnavailableError, "DEADLINE_EXCEEDED": DeadlineError}.get(code, ServerError)(code, text)
