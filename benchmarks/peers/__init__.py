"""Our server compared with an echo, a plain grpc.aio server, and the model servers of other projects."""
