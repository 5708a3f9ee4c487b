#!/usr/bin/env bash
# Writes what is public in each library, one line for each item, so that a review of a change sees what it
# does to the surface. `--check` compares and writes nothing.
# Needs `cargo install --locked cargo-public-api` of just this version, which reads what just this toolchain
# writes.
set -euo pipefail
cd "$(dirname "$0")/../.."
tool=0.52.0 toolchain=1.95.0 target=target/public-api
case "${1:-}" in
--install)
    # What is there may be in use.
    rustup run "$toolchain" rustdoc --version >/dev/null 2>&1 \
        || rustup toolchain install "$toolchain" --profile minimal --no-self-update
    [ "$(cargo public-api --version 2>/dev/null)" = "cargo-public-api $tool" ] \
        || cargo install --quiet --locked "cargo-public-api@$tool"
    exit
    ;;
esac
differs=0
for library in mqtt-topic mqtt-codec mqtt-state; do
    file="docs/api/$library.txt"
    # It is unstable, and the same for all who use this toolchain.
    RUSTC_BOOTSTRAP=1 cargo "+$toolchain" rustdoc --quiet -p "$library" --lib --all-features --locked \
        --target-dir "$target" -- -Zunstable-options --output-format json
    # In an order of its own: where in the code it stands is not public.
    listing="$(cargo public-api --rustdoc-json "$target/doc/${library//-/_}.json" -sss | LC_ALL=C sort -u)"
    if [ "${1:-}" = --check ]; then
        diff -u "$file" <(printf '%s\n' "$listing") || differs=1
    else
        printf '%s\n' "$listing" >"$file"
    fi
done
exit "$differs"
