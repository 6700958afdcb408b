#!/usr/bin/env bash
# SeaweedFS as the object store of the compose file; credentials come from the environment and stay in memory.
set -euo pipefail

config=$(mktemp -p /dev/shm)
umask 077
cat >"$config" <<JSON
{"identities": [{"name": "mdlake",
  "credentials": [{"accessKey": "${AWS_ACCESS_KEY_ID:?}", "secretKey": "${AWS_SECRET_ACCESS_KEY:?}"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON

exec weed server -dir=/data -ip.bind=0.0.0.0 -volume.max=0 -master.volumeSizeLimitMB=512 -master.telemetry=false \
    -filer -s3 -s3.port=8333 -s3.config="$config" -s3.iam=false -webdav=false -s3.port.lance=0
