"""h2_client.py HOST:PORT: the h2 library over a CONNECT tunnel. PROXY and CA as for the others."""
import base64, os, socket, ssl, sys
from urllib.parse import urlsplit

import h2.config, h2.connection, h2.events

target = sys.argv[1]
proxy = urlsplit(os.environ["PROXY"])
sock = socket.create_connection((proxy.hostname, proxy.port))
basic = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {basic}\r\n\r\n".encode())
head = b""
while b"\r\n\r\n" not in head:
    head += sock.recv(1)
assert head.startswith(b"HTTP/1.1 200"), head
context = ssl.create_default_context(cafile=os.environ["CA"])
context.set_alpn_protocols(["h2"])
sock = context.wrap_socket(sock, server_hostname="localhost")
assert sock.selected_alpn_protocol() == "h2"
conn = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
conn.initiate_connection()
bodies = {1: b"", 3: b"", 5: b"x" * 300_000}
for id, method, path in [(1, "GET", "/v1/a"), (3, "GET", "/other"), (5, "POST", "/v1/b")]:
    fields = [(":method", method), (":scheme", "https"), (":authority", target), (":path", path)]
    conn.send_headers(id, fields + [("authorization", "Bearer MINE")], end_stream=not bodies[id])
answers = {1: ["", ""], 3: ["", ""], 5: ["", ""]}
ended = set()


def upload():
    """As much of the body as the windows let through."""
    while bodies[5]:
        count = min(conn.local_flow_control_window(5), conn.max_outbound_frame_size, len(bodies[5]))
        if count == 0:
            return
        piece, bodies[5] = bodies[5][:count], bodies[5][count:]
        conn.send_data(5, piece, end_stream=not bodies[5])


while len(ended) < 3:
    upload()
    sock.sendall(conn.data_to_send())
    for event in conn.receive_data(sock.recv(65536)):
        if isinstance(event, h2.events.ResponseReceived):
            fields = dict(event.headers)
            answers[event.stream_id] = [fields[":status"], fields.get("x-slicer-proxy-reason", "")]
        elif isinstance(event, h2.events.DataReceived):
            conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id != 3:
                answers[event.stream_id][1] += event.data.decode()
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            ended.add(event.stream_id)
        elif isinstance(event, h2.events.ConnectionTerminated):
            sys.exit(f"GOAWAY {event.error_code}")
for id in (1, 3, 5):
    print(*answers[id])
