#!/usr/bin/env bash
# All tests with one command, as root on Debian or Ubuntu: tests/run.sh [ARGUMENTS OF cargo test]
# Installs what is missing, builds the release binary, runs every test, or those that the arguments name.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "tests/run.sh: the tests make PID namespaces and change users: run it as root" >&2
    exit 1
fi
# Who runs it may ignore some signals (nohup, a job in the background), and everything that is started would, too.
if [ -z "${PORTERO_SIGNALS_ARE_DEFAULT-}" ]; then
    exec env --default-signal PORTERO_SIGNALS_ARE_DEFAULT=1 bash "$PWD/tests/run.sh" "$@"
fi
if ! command -v cargo >/dev/null; then
    echo "tests/run.sh: cargo is missing: install Rust from https://rustup.rs" >&2
    exit 1
fi

. tests/packages.sh

engine=
lanes=()
said=$(mktemp -d)
clean_up() {
    if [ ${#lanes[@]} -gt 0 ]; then kill "${lanes[@]}" 2>/dev/null && wait "${lanes[@]}" || true; fi
    if [ -n "$engine" ]; then kill "$engine" && wait "$engine" || true; fi
    rm -rf "$said"
    remove_policy
}
trap clean_up EXIT

need gcc command -v cc
need g++ command -v c++
need libc6-dev test -e /usr/include/stdio.h
need libc-bin command -v ldd
need util-linux command -v unshare
need tini test -x /usr/bin/tini-static
need docker.io test -x /usr/bin/docker
need docker.io command -v dockerd
need docker-compose command -v docker-compose
need debootstrap command -v debootstrap
need iproute2 command -v ip
need gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
need qemu-user-static command -v qemu-aarch64-static
need procps command -v ps
need libcap2-bin command -v setcap
need strace command -v strace
need openssl command -v openssl
need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
need libpq5 compgen -G '/usr/lib/*/libpq.so.5'
need pgbouncer command -v pgbouncer
need pgpool2 command -v pgpool
need haproxy command -v haproxy
need gosu command -v gosu
need dumb-init command -v dumb-init
need catatonit command -v catatonit
need redis-server test -x /usr/bin/redis-server
need redis-tools test -x /usr/bin/redis-cli
need postgresql compgen -G '/usr/lib/postgresql/*/bin/initdb'
need python3 test -x /usr/bin/python3
need npm command -v npm
need nginx-light command -v nginx
need python3-venv /usr/bin/python3 -c 'import ensurepip, venv'
install_missing

# rust-toolchain.toml names the target; an older rustup, or one that does not install by itself, is told so.
target="$(uname -m)-unknown-linux-musl"
if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx "$target"; then
    rustup target add "$target"
fi

# A Docker engine of this run's own, where none runs. What it builds stays for the next run.
if ! docker info >/dev/null 2>&1; then
    mkdir -p target
    dockerd >target/dockerd.log 2>&1 &
    engine=$!
    for _ in $(seq 300); do
        docker info >/dev/null 2>&1 && break
        kill -0 "$engine" 2>/dev/null || { tail -n 5 target/dockerd.log >&2; exit 1; }
        sleep 0.2
    done
fi

# Both release binaries at once: the link of each keeps one core only.
tests/cross-build.sh --target "$target" </dev/null
cargo build --release --locked --no-default-features --target-dir target/minimal </dev/null

case "$*" in
'' | --no-fail-fast) ;;
*)
    cargo test --locked "$@" </dev/null
    exit
    ;;
esac

# What mostly waits, for an engine, for servers, for a lock's limits, runs beside the others, so that no core is idle.
# Each list is a lane, whose programs run one after another; what they say is shown after the rest, in one piece.
engines=(docker)
waiting=(chaos fastapi herd lock_dialogue lock_lifetime lock_places lock_proxies lock_servers postgres_versions)

# beside PROGRAM...: starts a lane.
beside() {
    local file=$said/${#lanes[@]} tests
    read -ra tests <<<"$(printf -- '--test %s ' "$@")"
    cargo test --locked --no-run "${tests[@]}" </dev/null
    : >"$file"
    echo "beside the others, and shown after them: $*"
    # A job in the background ignores SIGINT and SIGQUIT.
    env --default-signal=INT,QUIT cargo test --locked "${arguments[@]}" "${tests[@]}" >"$file" 2>&1 </dev/null &
    lanes+=($!)
    # From now on it does not need cargo's lock, which the next build holds.
    until grep -q Running "$file" || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
}

arguments=("$@")
beside "${engines[@]}"
nice cargo test --locked --no-run </dev/null
beside "${waiting[@]}"
others=(--bins)
for file in tests/*.rs tests/*/main.rs; do
    name=${file#tests/}
    name=${name%/main.rs}
    name=${name%.rs}
    [[ " ${engines[*]} ${waiting[*]} " == *" $name "* ]] || others+=(--test "$name")
done
status=0
cargo test --locked "$@" "${others[@]}" </dev/null || status=$?
for lane in "${!lanes[@]}"; do
    wait "${lanes[lane]}" || status=$?
    cat "$said/$lane"
done
lanes=()
exit "$status"
