"""Our server beside an echo, a plain grpc.aio server, and the servers that others use."""
