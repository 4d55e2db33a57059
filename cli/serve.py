from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import Parameter

from digits.serve.settings import ServeSettings, WorkerConfiguration


def serve(settings: Annotated[ServeSettings, Parameter(name="*")] = ServeSettings()) -> int:
    """Serve a model over gRPC: the newest version in a repository, or the bundled model.

    ```
    digits serve
    digits serve --models models --address 127.0.0.1:50051
    ```

    Prints one line when it is ready. After SIGTERM or Ctrl-C it answers every accepted call, and exits with code 0.
    """
    from digits.serve.process import signal_handling

    signal_handling.begin()  # before the imports below: numpy's starts threads
    from digits.serve.process.threads import require_memory

    require_memory(settings)
    from digits.serve.process.supervisor import count_workers, supervise

    if (workers := count_workers(settings)) > 1:
        return supervise(settings, workers, partial(print, flush=True))

    from digits.serve.server import Server  # which a supervisor does without

    server = Server(WorkerConfiguration(settings))
    server.start()
    print(server, flush=True)
    signal_handling.stay(server, settings.drain_timeout)
    return 0
