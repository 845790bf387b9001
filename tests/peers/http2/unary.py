"""unary.py HOST:PORT: one call by grpcio (gRPC's C core) to the service of s.proto; the message is encoded by hand."""
import os, sys

import grpc

plain = lambda message: message
roots = open(os.environ["CA"], "rb").read()
with grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials(roots)) as channel:
    call = channel.unary_unary("/p.S/Unary", plain, plain)
    answer, done = call.with_call(b"\x0a\x03one", timeout=20, metadata=(("authorization", "Bearer MINE"),))
    print(answer[2:].decode(), dict(done.trailing_metadata())["x-auth"])
