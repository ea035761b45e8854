#!/usr/bin/env bash
# Makes a root of its own, and what it signs: two sites and a client. For trying things out only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p certificates
cd certificates

ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req -x509 "${ec[@]}" -keyout root.key -out root.pem -days 30 -subj "/CN=Root of the example"

# sign NAME EXTENSIONS
sign() {
  openssl req "${ec[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
  openssl x509 -req -in "$1.csr" -CA root.pem -CAkey root.key -CAcreateserial -days 30 \
    -out "$1.pem" -extfile <(printf '%s\n' "$2")
}
sign site "subjectAltName=DNS:www.site.test"
sign shop "subjectAltName=DNS:shop.test,DNS:*.shop.test"
sign alice "extendedKeyUsage=clientAuth"
sign office "subjectAltName=DNS:office.test"
