#!/usr/bin/env bash
# Builds the targets for libFuzzer without cargo-fuzz, with the flags that it would give; prints where they are.
set -euo pipefail
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
# The first flag is what instruments; the counters and the comparisons guide the fuzzer.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTC_BOOTSTRAP=1 cargo build --release --target "$host"
echo "$PWD/target/$host/release"
