#!/bin/sh
# Prints a new private key and the certificate of an authority with it. Variable: NAME.
set -eu
command -v openssl >/dev/null || { echo "openssl is needed to make a certificate: sudo apt-get install openssl" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days 3650 -subj "/CN=$NAME" \
  -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
  -keyout "$folder/key" -out "$folder/certificate" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
cat "$folder/key" "$folder/certificate"
