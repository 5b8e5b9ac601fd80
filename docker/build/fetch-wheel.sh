#!/bin/sh
# Fetches one wheel for one architecture and unpacks it, only if its hash is the expected one.
#   fetch-wheel.sh NAME VERSION ARCHITECTURE FOLDER [SHA256...]
# ARCHITECTURE is Docker's word (amd64, arm64). The hashes are the arguments, or, without any,
# those in wheels/NAME-VERSION.txt.
set -eu

name=$1 version=$2 architecture=$3 folder=$4
shift 4

case $architecture in
amd64) machine=x86_64 ;;
arm64) machine=aarch64 ;;
*)
  echo "ERROR: no $name build exists for the architecture '$architecture'; expected amd64 or arm64." >&2
  exit 1
  ;;
esac

pins=$(dirname "$0")/../wheels/$name-$version.txt
if [ $# -gt 0 ]; then
  # A hash that is given holds, whatever is pinned.
  pins=$(mktemp)
  printf '%s==%s' "$name" "$version" >"$pins"
  for hash in "$@"; do printf ' --hash=sha256:%s' "$hash" >>"$pins"; done
  echo >>"$pins"
elif [ ! -f "$pins" ]; then
  echo "ERROR: $name $version is not pinned in docker/wheels: its SHA-256 is unknown." >&2
  echo "Pinned: $(cd "$(dirname "$pins")" && echo "$name"-*.txt)." >&2
  echo "To use another, set the SHA-256 of its wheel:" >&2
  echo "  pulumi config set --path microsandbox:versionSha256.$architecture SHA256" >&2
  exit 1
fi

download=$(mktemp -d)
pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
  --platform "manylinux_2_28_$machine" --python-version 3.13 --dest "$download" --requirement "$pins"
mkdir -p "$folder"
unzip -q -d "$folder" "$download"/*.whl
rm -r "$download"
