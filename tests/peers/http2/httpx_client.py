"""httpx_client.py HOST:PORT: httpx with HTTP/2 through the proxy. UPLOAD is how many bytes its POST has."""
import os, sys

import httpx

with httpx.Client(http2=True, verify=os.environ["CA"], proxies={"all://": os.environ["PROXY"]}, timeout=20) as client:
    for method, path, body in [("GET", "/v1/a", b""), ("GET", "/other", b""), ("POST", "/v1/b", b"x" * int(os.environ["UPLOAD"]))]:
        answer = client.request(
            method, f"https://{sys.argv[1]}{path}", content=body, headers={"authorization": "Bearer MINE"}
        )
        assert answer.http_version == "HTTP/2", answer.http_version
        print(answer.status_code, answer.headers.get("x-slicer-proxy-reason") or answer.text)
