#!/usr/bin/env bash
# Pins what goes into the images: every version from constraints.txt, with the hashes of all its files.
#   deploy/image/lock.sh [UV]      `make lock`
set -euo pipefail
uv=${1:-uv}
cd "$(dirname "$0")/../.."

# pin FILE ARGUMENTS...
pin() {
  local file=$1
  shift
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --constraints constraints.txt --output-file "deploy/image/$file" "$@"
}

# What a service needs where it is not alone on one machine.
extras=(--extra qdrant --extra postgres --extra otel)

pin build.txt deploy/image/build.in
pin cpu.txt pyproject.toml "${extras[@]}"
pin gpu.txt pyproject.toml "${extras[@]}" --extra gpu
