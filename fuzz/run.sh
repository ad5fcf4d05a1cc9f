#!/bin/sh
# Runs every fuzz target for some seconds each: sh fuzz/run.sh [SECONDS]
set -eu

cd "$(dirname "$0")/.."
seconds=${1:-20}
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "SKIP: fuzzing needs the nightly toolchain and cargo-fuzz" >&2
    exit 0
fi
for target in $(cargo +nightly fuzz list); do
    echo "Fuzzing $target for $seconds s"
    mkdir -p "fuzz/corpus/$target" "fuzz/seeds/$target"
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1
done
