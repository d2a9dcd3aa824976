#!/usr/bin/env bash
# The release binary for arm64, on an x86-64 machine with Debian's or Ubuntu's cross compiler (gcc-aarch64-linux-gnu):
# tests/cross-build.sh [--target ANOTHER]…
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-musl
if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx "$target"; then
    rustup target add "$target"
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc
cargo build --release --locked --target "$target" "$@"
