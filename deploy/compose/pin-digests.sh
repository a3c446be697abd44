#!/usr/bin/env bash
# Writes the digests of the images that docker-compose.yml names by tag into .env, so that a tag
# that is moved later changes nothing. Needs docker with buildx, and the registry.
set -euo pipefail
cd "$(dirname "$0")/../.."
touch .env

# pin VARIABLE: find the image that the variable follows in docker-compose.yml.
pin() {
  local variable=$1 image digest
  image=$(sed -n "s/^ *image: \(.*\)\${$variable:-}\$/\1/p" docker-compose.yml | head -n 1)
  digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
  case $digest in
    sha256:????????????????????????????????????????????????????????????????) ;;
    *) echo "no digest for $image: $digest" >&2 && exit 1 ;;
  esac
  sed -i "/^$variable=/d" .env
  echo "$variable=@$digest" >>.env
  echo "$image@$digest"
}

for variable in QDRANT_DIGEST PROMETHEUS_DIGEST ALERTMANAGER_DIGEST GRAFANA_DIGEST; do
  pin "$variable"
done
