#!/bin/sh
# Runs every fuzz target for some seconds each with libFuzzer: sh fuzz/run.sh [SECONDS]
#
# Needs cargo-fuzz (`cargo install --locked cargo-fuzz`) and a C++ compiler, and the stable toolchain. PROFILE=dev builds in
# half the time, for short runs. SANITIZER=address takes twice as long; the toolchain is then told to take flags that it
# knows and keeps to itself.
set -eu

cd "$(dirname "$0")/.."
seconds=${1:-20}
sanitizer=${SANITIZER:-none}
options="--${PROFILE:-release} --sanitizer $sanitizer --target-dir target/fuzz"
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "SKIP: fuzzing needs cargo-fuzz" >&2
    exit 0
fi
inputs=$PWD/target/fuzz-inputs
log=$(mktemp)
trap 'rm -f "$log"' EXIT
ROOTCELLAR_FUZZ_INPUTS=$inputs cargo test --quiet --locked -p rootcellar-system-tests what_is_valid_is_written_where_the_fuzzer_begins

[ "$sanitizer" = none ] || export RUSTC_BOOTSTRAP=1
# shellcheck disable=SC2086
cargo fuzz build $options
for target in $(cargo fuzz list); do
    mkdir -p "fuzz/corpus/$target" "fuzz/seeds/$target"
    # shellcheck disable=SC2086
    if ! cargo fuzz run $options "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" "$inputs/$target" -- \
        -max_total_time="$seconds" -max_len=262144 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 >"$log" 2>&1; then
        cat "$log" >&2
        echo "error: $target does not survive this: its input belongs in fuzz/seeds/$target/" >&2
        exit 1
    fi
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
done
