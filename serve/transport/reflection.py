"""gRPC reflection, by which a client asks for the .proto: `grpc.reflection.v1`, and `v1alpha` for older clients."""

from collections.abc import Sequence

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1 = "grpc.reflection.v1.ServerReflection"
METHOD = "ServerReflectionInfo"


def add_reflection(server: grpc.Server, services: Sequence[str]) -> None:
    """Describes these services, and itself, under both names. grpcio-reflection has `v1alpha` only."""
    _describe_v1()
    servicer = reflection.ReflectionServicer((*services, V1, reflection.SERVICE_NAME))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (V1, reflection.SERVICE_NAME):
        server.add_registered_method_handlers(name, {METHOD: handler})


def _describe_v1() -> None:
    """Makes `v1` known to protobuf: it is `v1alpha` with another package, on the wire as in its messages."""
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    file = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
