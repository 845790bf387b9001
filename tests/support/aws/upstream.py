"""A stand-in for AWS over TLS: each request's signature is verified with botocore (`verify.py`), and what it asks for is done:
objects and multipart uploads of S3, DynamoDB's GetItem, Bedrock's streams, STS.

    upstream.py CERT KEY FOLDER

Settings come as JSON on the first line of stdin: {"keys": [{"id", "secret", "token"?, "session"?}], "skew": seconds}. It
prints its port, then a JSON line for each request: what was verified, or why it was refused.
"""
import base64
import hashlib
import json
import os
import ssl
import struct
import sys
import threading
import time
import uuid
import zlib
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from verify import Signed, Wrong, read_chunks  # noqa: E402

CERT, KEY, FOLDER = sys.argv[1:4]
SETTINGS = json.loads(sys.stdin.readline())
KEYS = SETTINGS["keys"]
SKEW = SETTINGS.get("skew", 0)
REGION = SETTINGS.get("region")
PRINTING = threading.Lock()


def say(line):
    with PRINTING:
        print(json.dumps(line), flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return formatdate((timestamp or time.time()) + SKEW, usegmt=True)

    def do(self):
        self.is_read = False
        parts = urlsplit(self.path)
        seen = {"method": self.command, "path": parts.path, "payload": None}
        try:
            body = b"" if self.is_large() else b"".join(self.raw())
            digest = None if self.is_large() else hashlib.sha256(body).hexdigest()
            signed = Signed(self.command, self.path, self.headers.items(), KEYS, digest)
            seen.update(payload=signed.payload, service=signed.service, region=signed.region, key=signed.key["id"])
            self.check_time(signed)
            if REGION and signed.region != REGION:
                raise Wrong(f"AuthorizationHeaderMalformed: the region '{signed.region}' is wrong; expecting '{REGION}'")
            self.answer(signed, parts, body)
            say({**seen, "error": None})
        except Wrong as wrong:
            code, _, words = str(wrong).partition(": ")
            say({**seen, "error": str(wrong)})
            self.close_connection = True
            self.fail(code, words)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

    def check_time(self, signed):
        at = time.mktime(time.strptime(signed.date + " UTC", "%Y%m%dT%H%M%SZ %Z")) - time.timezone
        now = time.time() + SKEW
        if signed.is_query and now > at + signed.expires:
            raise Wrong("AccessDenied: Request has expired")
        if abs(now - at) > 300 and not (signed.is_query and now > at):
            raise Wrong("RequestTimeTooSkewed: The difference between the request time and the current time is too large.")

    def is_large(self):
        """Bodies of S3 are read as they come; the hash of any other is what is signed."""
        return (self.headers["x-amz-content-sha256"] or "").startswith(("STREAMING", "UNSIGNED")) or (
            int(self.headers["content-length"] or 0) > 1 << 20
        )

    def raw(self):
        """The body without HTTP's own framing."""
        if (self.headers["transfer-encoding"] or "").lower() == "chunked":
            while True:
                size = int(self.rfile.readline(), 16)
                piece = self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return
                yield piece
        left = int(self.headers["content-length"] or 0)
        while left > 0:
            piece = self.rfile.read(min(left, 1 << 16))
            if not piece:
                raise Wrong("IncompleteBody: it ended too early")
            left -= len(piece)
            yield piece

    def content(self, signed, body):
        """The content that S3 is sent, and its hash verified where that is signed."""
        if not self.is_large():
            yield body
            return
        if signed.payload.startswith("STREAMING"):
            pull = Pull(self.raw())
            is_signed = signed.payload.startswith("STREAMING-AWS4")
            yield from read_chunks(pull.line, pull.read, signed if is_signed else None)
            pull.end()
            return
        hashed = hashlib.sha256()
        for piece in self.raw():
            hashed.update(piece)
            yield piece
        if len(signed.payload) == 64 and hashed.hexdigest() != signed.payload:
            raise Wrong("XAmzContentSHA256Mismatch: the body is another one")

    def answer(self, signed, parts, body):
        if signed.service == "s3":
            return self.s3(signed, parts, body)
        if signed.service == "dynamodb":
            return self.reply(200, json.dumps({"Item": {"id": {"S": "one"}}}), "application/x-amz-json-1.0")
        if signed.service == "bedrock":
            return self.bedrock(parts, body)
        if signed.service == "sts":
            return self.sts(signed, parts, body)
        self.reply(200, json.dumps({"path": parts.path}), "application/json")

    def s3(self, signed, parts, body):
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        name = os.path.join(FOLDER, hashlib.sha256(unquote(parts.path).encode()).hexdigest())
        if self.command == "POST" and "uploads" in query:
            return self.xml(f"<InitiateMultipartUploadResult><UploadId>{uuid.uuid4().hex}</UploadId></InitiateMultipartUploadResult>")
        if self.command == "PUT":
            if "partNumber" in query:
                name += f".{query['uploadId']}.{int(query['partNumber']):05d}"
            etag = hashlib.md5()
            with open(name, "wb") as file:
                for piece in self.content(signed, body):
                    etag.update(piece)
                    file.write(piece)
            return self.reply(200, "", None, {"ETag": f'"{etag.hexdigest()}"'})
        if self.command == "POST" and "uploadId" in query:
            list(self.content(signed, body))
            found = sorted(each for each in os.listdir(FOLDER) if f".{query['uploadId']}." in each)
            with open(name, "wb") as file:
                for each in found:
                    with open(os.path.join(FOLDER, each), "rb") as part:
                        file.write(part.read())
                    os.remove(os.path.join(FOLDER, each))
            return self.xml(f"<CompleteMultipartUploadResult><ETag>\"{len(found)}\"</ETag></CompleteMultipartUploadResult>")
        if parts.path.count("/") < 2 or parts.path.endswith("/") and parts.path.count("/") == 2:
            return self.xml("<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount></ListBucketResult>")
        if not os.path.exists(name):
            return self.fail("NoSuchKey", "The specified key does not exist.", 404)
        self.send_file(name)

    def send_file(self, name):
        size = os.path.getsize(name)
        wanted = (self.headers["range"] or "").replace("bytes=", "").split("-")
        first = int(wanted[0]) if wanted[0] else 0
        last = int(wanted[1]) if len(wanted) > 1 and wanted[1] else size - 1
        self.send_response(206 if self.headers["range"] else 200)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("ETag", '"etag"')
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        if self.headers["range"]:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        with open(name, "rb") as file:
            file.seek(first)
            left = last - first + 1
            while left > 0:
                piece = file.read(min(left, 1 << 16))
                self.wfile.write(piece)
                left -= len(piece)

    def bedrock(self, parts, body):
        """InvokeModelWithResponseStream: events, as `application/vnd.amazon.eventstream` frames."""
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in (json.loads(body)["prompt"] + " streams").split(" "):
            chunk = json.dumps({"bytes": base64.b64encode(json.dumps({"text": word}).encode()).decode()}).encode()
            event = frame({":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}, chunk)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def sts(self, signed, parts, body):
        form = {**parse_qs(body.decode()), **parse_qs(parts.query)}
        action = form["Action"][0]
        if action == "AssumeRole":
            session = next((key for key in KEYS if key.get("session")), None)
            if session is None or form.get("ExternalId", [""])[0] != session.get("external_id", ""):
                return self.fail("AccessDenied", "is not authorized to perform: sts:AssumeRole")
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + SKEW + int(form["DurationSeconds"][0])))
            return self.xml(
                f"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{session['id']}</AccessKeyId>"
                f"<SecretAccessKey>{session['secret']}</SecretAccessKey><SessionToken>{session['token']}</SessionToken>"
                f"<Expiration>{ends}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
            )
        self.xml(
            f"<{action}Response><{action}Result><Arn>arn:aws:iam::123456789012:user/real</Arn><UserId>AIDA</UserId>"
            f"<Account>123456789012</Account></{action}Result></{action}Response>"
        )

    def xml(self, text):
        self.reply(200, '<?xml version="1.0"?>' + text, "application/xml")

    def fail(self, code, words, status=403):
        is_json = "x-amz-json" in (self.headers["content-type"] or "") or "bedrock" in (self.headers["authorization"] or "")
        if is_json:
            return self.reply(400, json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": words}), "application/json")
        words = words.replace("&", "&amp;").replace("<", "&lt;")
        self.reply(status, f"<Error><Code>{code}</Code><Message>{words}</Message></Error>", "application/xml")

    def reply(self, status, text, content_type, headers={}):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if content_type:
            self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class Pull:
    """Lines and counts of bytes from pieces."""

    def __init__(self, pieces):
        self._pieces, self._buffer = pieces, b""

    def _more(self):
        piece = next(self._pieces, b"")
        self._buffer += piece
        return piece

    def read(self, count):
        while len(self._buffer) < count:
            if not self._more():
                raise Wrong("IncompleteBody: it ended too early")
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def line(self):
        while b"\n" not in self._buffer:
            if not self._more():
                raise Wrong("IncompleteBody: it ended too early")
        return self.read(self._buffer.index(b"\n") + 1)

    def end(self):
        if self._buffer or self._more():
            raise Wrong("IncompleteBody: something follows")


def frame(headers, payload):
    """One message of an event stream."""
    fields = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(fields) + len(payload), len(fields))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + fields + payload
    return message + struct.pack(">I", zlib.crc32(message))


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def get_request(self):
        connection, address = super().get_request()
        connection.settimeout(60)
        return CONTEXT.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, *_):
        pass


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(CERT, KEY)
SERVER = Server(("127.0.0.1", 0), Handler)
print(SERVER.server_address[1], flush=True)
threading.Thread(target=SERVER.serve_forever, daemon=True).start()
sys.stdin.read()
