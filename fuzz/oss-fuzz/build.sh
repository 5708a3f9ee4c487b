#!/bin/bash -eu
# Builds every target of fuzz/ for OSS-Fuzz, each with its seeds and, where its input is bytes of MQTT, the
# dictionary. Also runs on a checkout by itself: SRC=$(dirname "$PWD") OUT=/somewhere fuzz/oss-fuzz/build.sh
cd "${MQTT_SOURCE:-$SRC/mqtt}"

cargo fuzz build -O --debug-assertions

for target in $(cargo fuzz list); do
    cp "fuzz/target/${CARGO_BUILD_TARGET:-x86_64-unknown-linux-gnu}/release/$target" "$OUT/"
    if [ -d "fuzz/seeds/$target" ]; then
        zip -q -j -r "$OUT/${target}_seed_corpus.zip" "fuzz/seeds/$target"
    fi
    case "$target" in
        decode | canonical | chunks | differential | topic_match) cp fuzz/mqtt.dict "$OUT/$target.dict" ;;
    esac
done
