#!/usr/bin/env bash
# Makes the keys and passwords that docker-compose.yml reads, each in a file of its own. A secret
# that is there already stays, so it is safe to call again; to change one, delete its file first.
#
#   deploy/compose/make-secrets.sh [DIRECTORY]     default: secrets
set -euo pipefail
directory=${1:-secrets}
mkdir -p "$directory"
# Containers of several users read the files, so these are readable and the directory is not.
chmod 700 "$directory"
cd "$directory"

random() { openssl rand -base64 32 | tr '+/' '-_' | tr -d '=\n'; }

# once FILE COMMAND...: write what the command prints to a file, unless the file is there.
once() {
  local file=$1
  shift
  if [ -s "$file" ]; then
    echo "kept  $file"
    return
  fi
  (umask 077 && "$@" >".$file.new")
  chmod 644 ".$file.new"
  mv ".$file.new" "$file"
  echo "made  $file"
}

api_key() { printf 'iso_%s_%s' "$(openssl rand -hex 6)" "$(random)"; }

# One entry of the key file: public id, hash, what it is for, what it may do. `isoglot keys` reads
# and changes the same form.
key_entry() {
  local key
  key=$(cat "$1")
  printf '    {"id": "%s", "sha256": "%s", "name": "%s", "scopes": [%s], "created": "%s"}' \
    "$(cut -d_ -f2 <<<"$key")" "$(printf %s "$key" | openssl dgst -sha256 -r | cut -d' ' -f1)" \
    "$2" "$3" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
}

key_file() {
  printf '{\n  "version": 1,\n  "keys": [\n%s,\n%s\n  ]\n}\n' \
    "$(key_entry isoglot_operator_key operator '"search", "ingest", "feedback", "admin"')" \
    "$(key_entry isoglot_metrics_key prometheus '"metrics"')"
}

qdrant_config() {
  printf 'service:\n  api_key: "%s"\n  read_only_api_key: "%s"\n' \
    "$(cat qdrant_api_key)" "$(cat qdrant_read_only_key)"
}

# What is made from keys is made anew where a key is.
stale() {
  local made=$1 from
  shift
  for from in "$@"; do
    if [ "$from" -nt "$made" ]; then rm -f "$made"; fi
  done
}

once isoglot_operator_key api_key
once isoglot_metrics_key api_key
if [ -s isoglot_keys ] && ! grep -q "$(cut -d_ -f2 isoglot_operator_key)" isoglot_keys; then
  echo "isoglot_keys has no key for isoglot_operator_key: delete one of the two and call again" >&2
  exit 1
fi
once isoglot_keys key_file
once isoglot_feedback_key random
once qdrant_api_key random
once qdrant_read_only_key random
stale qdrant_config qdrant_api_key qdrant_read_only_key
once qdrant_config qdrant_config
once grafana_admin_password random
