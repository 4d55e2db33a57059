"""What carries calls between the network and the queue: the native HTTP/2 frontend, and grpcio."""
