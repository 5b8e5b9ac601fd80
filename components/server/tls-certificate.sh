#!/bin/sh
# Prints a new private key and a certificate of the authority for it.
# Variables: AUTHORITY (the authority's key and certificate, not exported), NAMES (DNS:…,IP:…), DAYS.
set -eu
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf '%s\n' "$AUTHORITY" >authority
cat >extensions <<EXTENSIONS
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = $NAMES
EXTENSIONS
{
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -subj "/CN=microsandbox server" -keyout key -out request
  openssl x509 -req -sha256 -in request -CA authority -CAkey authority -set_serial "0x$(openssl rand -hex 16)" \
    -days "$DAYS" -extfile extensions -out certificate
} >log 2>&1 || { cat log >&2; exit 1; }
cat key certificate
