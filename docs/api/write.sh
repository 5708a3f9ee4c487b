#!/usr/bin/env bash
# Writes what is public in each library, one line for each item, so that a review of a change sees what it
# does to the surface. `--check` compares and writes nothing.
# Needs a nightly toolchain and `cargo install --locked cargo-public-api`.
set -euo pipefail
cd "$(dirname "$0")/../.."
for library in mqtt-topic mqtt-codec mqtt-state; do
    file="docs/api/$library.txt"
    listing="$(cargo +nightly public-api -p "$library" --all-features -sss --target-dir target/public-api)"
    if [ "${1:-}" = --check ]; then
        diff -u "$file" <(printf '%s\n' "$listing")
    else
        printf '%s\n' "$listing" >"$file"
    fi
done
