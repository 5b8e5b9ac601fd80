#!/bin/sh
# Prints a new private key and a certificate of the authority for it.
# Variables: AUTHORITY (the authority's key and certificate, not exported), NAMES (DNS:…,IP:…), DAYS, USAGE (serverAuth…).
set -eu
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf '%s\n' "$AUTHORITY" >authority
cat >extensions <<EXTENSIONS
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = $USAGE
subjectAltName = $NAMES
EXTENSIONS
cat >ca <<CA
[ca]
default_ca = own
[own]
dir = .
database = index
new_certs_dir = issued
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
CA
time_of() { date -u -d "@$1" +%Y%m%d%H%M%SZ 2>/dev/null || date -u -r "$1" +%Y%m%d%H%M%SZ; }
{
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -subj "/CN=microsandbox server" -keyout key -out request
  mkdir issued
  : >index
  # Good since yesterday: a client's clock may be behind. Only `ca` can say so in openssl 3.0.
  now=$(date +%s)
  openssl ca -batch -notext -config ca -extfile extensions -cert authority -keyfile authority -in request -out certificate \
    -startdate "$(time_of $((now - 86400)))" -enddate "$(time_of $((now + DAYS * 86400)))"
} >log 2>&1 || { cat log >&2; exit 1; }
cat key certificate
