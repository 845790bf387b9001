"""Verifies AWS signatures with botocore: an implementation of Signature Version 4 that shares nothing with the proxy's.

As a program it reads one JSON object per line, {"method", "target", "headers": [[name, value]], "body_sha256", "keys"}, and
answers each with a line: "ok", or what is wrong.
"""
import hashlib
import hmac
import json
import sys
from http.client import HTTPMessage
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

EMPTY = hashlib.sha256(b"").hexdigest()
S3 = ("s3", "s3express", "s3-outposts", "s3-object-lambda")


class Wrong(Exception):
    """The message is the code of the error that AWS would answer, and what is wrong."""


def auth_of(service):
    """The recipe for a service, with what was signed given instead of chosen."""

    class Recipe(S3SigV4Auth if service in S3 else SigV4Auth):
        def __init__(self, key, service, region, names, payload):
            super().__init__(Credentials(key["id"], key["secret"], key.get("token")), service, region)
            self._names, self._payload = names, payload

        def headers_to_sign(self, request):
            chosen = HTTPMessage()
            for name in self._names:
                values = request.headers.get_all(name)
                if not values:
                    raise Wrong(f"SignatureDoesNotMatch: {name} is signed and not there")
                for value in values:
                    chosen[name] = value
            return chosen

        def payload(self, request):
            return self._payload

    return Recipe


class Signed:
    """What a request's signature says, verified."""

    def __init__(self, method, target, headers, keys, body_sha256=None, now=None):
        self.headers = HTTPMessage()
        for name, value in headers:
            self.headers[name] = value
        host = self.headers["host"]
        parts = urlsplit("https://" + host + target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        authorization = self.headers.get_all("authorization") or []
        self.is_query = "X-Amz-Signature" in query
        if len(authorization) + self.is_query != 1:
            raise Wrong("AccessDenied: it is not signed once")
        if self.is_query:
            credential, names = query["X-Amz-Credential"], query["X-Amz-SignedHeaders"].split(";")
            self.signature, self.date = query["X-Amz-Signature"], query["X-Amz-Date"]
            self.expires = int(query["X-Amz-Expires"])
            token = query.get("X-Amz-Security-Token")
            kept = [pair for pair in parts.query.split("&") if not pair.startswith("X-Amz-Signature=")]
            parts = parts._replace(query="&".join(kept))
        else:
            scheme, _, rest = authorization[0].partition(" ")
            if scheme != "AWS4-HMAC-SHA256":
                raise Wrong(f"InvalidRequest: {scheme}")
            said = dict(part.strip().split("=", 1) for part in rest.split(","))
            credential, names = said["Credential"], said["SignedHeaders"].split(";")
            self.signature, self.date = said["Signature"], self.headers["x-amz-date"]
            token = self.headers["x-amz-security-token"]
        key_id, day, self.region, self.service, _ = credential.rsplit("/", 4)
        self.key = next((key for key in keys if key["id"] == key_id), None)
        if self.key is None:
            raise Wrong("InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.")
        if token != self.key.get("token"):
            raise Wrong("InvalidToken: the token is not that of the key")
        self.payload = self.headers["x-amz-content-sha256"]
        if self.payload is None:
            self.payload = query.get("X-Amz-Content-Sha256")
        if self.payload is None:
            self.payload = "UNSIGNED-PAYLOAD" if self.is_query and self.service in S3 else body_sha256 or EMPTY
        for name in self.headers.keys():
            if name.lower().startswith("x-amz-") and name.lower() not in names:
                raise Wrong(f"AccessDenied: There were headers present in the request which were not signed ({name})")
        if "host" not in names:
            raise Wrong("SignatureDoesNotMatch: the host is not signed")
        self._request = AWSRequest(method=method, url=parts.geturl(), headers=dict(self.headers))
        self._request.headers = self.headers
        self._request.context["timestamp"] = self.date
        self._auth = auth_of(self.service)(self.key, self.service, self.region, sorted(names), self.payload)
        canonical = self._auth.canonical_request(self._request)
        expected = self._auth.signature(self._auth.string_to_sign(self._request, canonical), self._request)
        if expected != self.signature:
            raise Wrong(f"SignatureDoesNotMatch: expected for\n{canonical}")
        if day != self.date[:8]:
            raise Wrong("SignatureDoesNotMatch: the scope has another day")
        if len(self.payload) == 64 and body_sha256 not in (None, self.payload):
            raise Wrong("XAmzContentSHA256Mismatch: the body is another one")

    def sign(self, *lines):
        """A signature of a chunk or a trailer, by hand: botocore has none."""
        scope = self._auth.credential_scope(self._request)
        text = "\n".join([lines[0], self.date, scope, *lines[1:]])
        key = ("AWS4" + self.key["secret"]).encode()
        for part in (self.date[:8], self.region, self.service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def read_chunks(read_line, read, signed=None):
    """The content of an aws-chunked body, as pieces. With `signed` every chunk has to be signed, and its trailer."""
    previous = signed and signed.signature
    while True:
        size, _, extension = read_line().rstrip(b"\r\n").partition(b";")
        data = read(int(size, 16))
        if signed:
            expected = signed.sign("AWS4-HMAC-SHA256-PAYLOAD", previous, EMPTY, hashlib.sha256(data).hexdigest())
            if extension != b"chunk-signature=" + expected.encode():
                raise Wrong("SignatureDoesNotMatch: of a chunk")
            previous = expected
        if not data:
            break
        if read(2) != b"\r\n":
            raise Wrong("IncompleteBody: a chunk does not end")
        yield data
    trailer = b""
    while True:
        line = read_line().rstrip(b"\r\n")
        if line == b"":
            return
        if signed and line.startswith(b"x-amz-trailer-signature:"):
            hashed = hashlib.sha256(trailer).hexdigest()
            if line.split(b":")[1].decode() != signed.sign("AWS4-HMAC-SHA256-TRAILER", previous, hashed):
                raise Wrong("SignatureDoesNotMatch: of the trailer")
        else:
            trailer += line + b"\n"


def main():
    for line in sys.stdin:
        request = json.loads(line)
        try:
            Signed(
                request["method"], request["target"], request["headers"], request["keys"], request.get("body_sha256")
            )
            print("ok", flush=True)
        except Wrong as wrong:
            print(str(wrong).replace("\n", "\\n"), flush=True)


if __name__ == "__main__":
    main()
