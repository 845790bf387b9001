#!/usr/bin/env bash
# Compiles the binary for this machine, twice, and runs on it what is tested with processes: the documented workflow with
# real curl, transcripts, environment and signals, completion, credentials for clouds. Where denort cannot be downloaded, DENORT_BIN names one
# and COMPILE_DENO a deno of its version. DENO_CMD is the deno of the project, default: deno.
set -euo pipefail
cd "$(dirname "$0")/.."
read -r -a deno <<<"${DENO_CMD:-deno}"

"${deno[@]}" task compile
first=$(cat dist/SHA256SUMS)
"${deno[@]}" task compile --no-check
if [ "$first" != "$(cat dist/SHA256SUMS)" ]; then
  echo 'error: the same sources gave two different binaries' >&2
  exit 1
fi

# Away from dist, under its own name and read-only, as it would lie on a host.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
install -m 555 dist/slicer-proxy "$dir/slicer-proxy"
SLICER_PROXY_BIN="$dir/slicer-proxy" "${deno[@]}" test -A tests/cli tests/e2e/binary_test.ts tests/e2e/http2_peers_test.ts tests/e2e/aws_cli_test.ts \
  tests/e2e/cloud_process_test.ts tests/e2e/mtls_test.ts tests/e2e/credentials_doc_test.ts tests/e2e/followed_file_test.ts \
  tests/e2e/secret_use_test.ts tests/e2e/environment_test.ts tests/e2e/bind_address_test.ts tests/e2e/completion_test.ts tests/e2e/ui_access_test.ts
